"""What is said when a head dies while one of its jobs is followed."""

import asyncio
import socket

import aiohttp
import pytest
import requests

from cifar_model.errors import InputError
from jobs.job_server import readable_errors


@pytest.fixture
def nowhere():
    """An address at which nothing answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


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
