"""Ray's job server: reaching it, following a job to its end, and stopping one cleanly."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cifar_model.errors import INTERRUPTED, InputError
from jobs.connection import API_SERVER, TOKEN_REMEDY

FAILED = 1  # of a job that ended without an exit code of its own
STOP_WAIT_S = 60
ENDS_WITHIN_S = STOP_WAIT_S + 30  # after that a stopped job is not waited for any more
# Read by Ray's job supervisor: SIGINT lets Ray Train end between two reports, and the last
# checkpoint is on the storage by then.
STOP_ENVIRONMENT = {
    "RAY_JOB_STOP_SIGNAL": "SIGINT",
    "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S),
}
READY_SECONDS = 60
_NOT_READY = "No available agent"


def connect(address: str | None) -> Any:
    """A JobSubmissionClient; InputError for an address or a token that won't do.

    address: http://HOST:8265; None is RAY_ADDRESS.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        raise InputError(
            "no cluster: set RAY_ADDRESS to its job server, http://HOST:8265 "
            "(python -m cluster.local up starts one here)"
        )
    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"RAY_ADDRESS {address}: expected the address of a job server, http://HOST:8265"
        )
    from ray.job_submission import JobSubmissionClient

    with readable_errors(address):
        # Ray lets the environment win over the argument.
        os.environ[API_SERVER] = address
        return JobSubmissionClient(address)


@contextmanager
def readable_errors(address: str, job: str | None = None) -> Iterator[None]:
    """What Ray says when a request fails, as one `InputError`.

    job: the requests are about this one, which was there before.
    """
    import aiohttp
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        reason = str(error).split("\n")[0].split(". ")[0]
        raise InputError(f"{address} refused: {reason}; {TOKEN_REMEDY}") from error
    except (ConnectionError, TimeoutError, requests.RequestException, aiohttp.ClientError) as error:
        if job is None:
            raise InputError(
                f"no job server at {address}; python -m cluster.doctor says what to do"
            ) from error
        raise InputError(
            f"{address} no longer answers about {job}, which goes on if its cluster does: "
            f"python -m jobs.submit logs {job}"
        ) from error
    except RuntimeError as error:
        raise InputError(f"{address}: {str(error).splitlines()[0]}") from error


def submit(client: Any, entrypoint: str, runtime_env: dict[str, Any], metadata: Any) -> str:
    """Submit a job and return its id; waits for a cluster that has just started."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return client.submit_job(
                entrypoint=entrypoint, runtime_env=runtime_env, metadata=metadata
            )
        except RuntimeError as error:
            if _NOT_READY not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(1)


def follow(client: Any, job: str) -> int:
    """Print a job's log as it grows until the job ends; returns its exit code.

    RuntimeError if there is no such job.
    """

    async def tail() -> None:
        try:
            async for text in client.tail_job_logs(job):
                print(text, end="", flush=True)
        except RuntimeError as error:  # what Ray raises when its WebSocket breaks off
            raise ConnectionError(str(error)) from error

    client.get_job_info(job)
    asyncio.run(tail())
    return wait(client, job)


def wait(client: Any, job: str) -> int:
    """The exit code of a job, once it has ended; its reason goes to stderr where it has none."""
    from ray.job_submission import JobStatus

    while not (info := client.get_job_info(job)).status.is_terminal():
        time.sleep(0.5)
    if info.status == JobStatus.SUCCEEDED:
        return 0
    if info.status == JobStatus.STOPPED:
        print(f"job {job} was stopped", file=sys.stderr)
        return INTERRUPTED
    if info.driver_exit_code:
        # A driver that a signal killed has a negative code, or 128 + the signal by way of a shell.
        code = int(info.driver_exit_code)
        by_signal = -code if code < 0 else code - 128
        if by_signal > 0:
            print(f"job {job} was killed by signal {by_signal}", file=sys.stderr)
            return 128 + by_signal
        return code
    print(
        f"job {job} failed: {(info.message or 'no reason given').splitlines()[0]}", file=sys.stderr
    )
    return FAILED


def stop(client: Any, job: str) -> bool:
    """Ask a job to end, and wait for it; whether it has ended, a line to stderr if not."""
    client.stop_job(job)
    print(f"Asked {job} to stop; it has {STOP_WAIT_S} s to end cleanly", flush=True)
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not (ended := client.get_job_status(job).is_terminal()) and time.monotonic() < deadline:
        time.sleep(0.5)
    if not ended:
        print(
            f"job {job} was asked to stop and has not ended in {ENDS_WITHIN_S} s: "
            f"python -m jobs.submit status {job}",
            file=sys.stderr,
        )
    return bool(ended)
