"""What is said when a head dies while a job of it is followed, and when a job does not stop."""

import asyncio

import aiohttp
import pytest
import requests
from ray.job_submission import JobStatus

from cifar_model.errors import InputError
from jobs import job_server, submit
from jobs.free_port import free_port
from jobs.job_server import readable_errors


@pytest.fixture
def nowhere():
    """An address at which nothing answers."""
    return f"http://127.0.0.1:{free_port()}"


async def follow(address):
    async with aiohttp.ClientSession() as session:
        await session.ws_connect(address)


async def wait():
    await asyncio.wait_for(asyncio.sleep(60), 0.01)


@pytest.mark.parametrize(
    "question",
    [requests.get, lambda address: asyncio.run(follow(address)), lambda _: asyncio.run(wait())],
    ids=["requests", "aiohttp", "asyncio"],
)
def test_a_server_that_is_gone_is_a_line_that_says_how_to_look_again(nowhere, question):
    with (
        pytest.raises(InputError, match=r"no longer answers .* python -m jobs.submit logs job_1$"),
        readable_errors(nowhere, "job_1"),
    ):
        question(nowhere)
    with pytest.raises(InputError, match="no job server"), readable_errors(nowhere):
        question(nowhere)


class Stubborn:
    """A client of a job server whose job ends, or does not, when it is asked to."""

    def __init__(self, status):
        self.status = status

    def stop_job(self, job):
        pass

    def get_job_status(self, job):
        return self.status


def test_a_job_that_goes_on_when_asked_to_stop_is_said_to_and_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr(job_server, "ENDS_WITHIN_S", 0)
    options, rest = submit.parse(["stop", "job_1"])
    assert submit.answer(Stubborn(JobStatus.RUNNING), options, rest) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "job_1" in line and "has not ended" in line
    assert submit.answer(Stubborn(JobStatus.STOPPED), options, rest) == 0
    assert capsys.readouterr().err == ""
