"""Open-loop load: requests are due at times drawn beforehand, however the server keeps up.

    python -m jobs.load.open_loop URL BODIES CONTENT_TYPE --rate 200 --seconds 10

Gaps are exponential, as those between independent users. A latency counts from the moment that a
request was due: one that has to wait, for a free connection or for a busy client, is not excused.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate, cycle, takewhile
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from jobs.load.target import LoadResult, Target, read_bodies

MAX_CONNECTIONS = 512
READY_CONNECTIONS = 16
LAST_ANSWERS_S = 30.0  # an answer that comes later after the end is an error


def offer(target: Target, rate: float, seconds: float, seed: int) -> LoadResult:
    """Load a server from a process of its own; rate: requests/s."""
    bodies = target.bodies
    command = [sys.executable, "-m", "jobs.load.open_loop", target.url, str(bodies.path)]
    options = ["--rate", str(rate), "--seconds", str(seconds), "--seed", str(seed)]
    run = subprocess.run(
        [*command, bodies.content_type, *options],
        capture_output=True,
        text=True,
        timeout=seconds + 2 * LAST_ANSWERS_S,
    )
    if run.returncode:
        raise RuntimeError(f"the open-loop client failed on {target.url}: {run.stderr}")
    return LoadResult(**json.loads(run.stdout))


class Connection(asyncio.Protocol):
    """One connection, with at most one request on its way."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, due: float) -> None:
        """due: on the loop's clock."""
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """The parser's: an answer is whole."""
        due, self._due = self._due, None
        status, stays = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        if due is not None:
            self._client.answered(self._loop.time() - due, status)
        if stays:
            self._client.is_free(self)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.is_gone(self, busy=self._due is not None)


class Client:
    """Hands requests to free connections and opens more when there are none."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[Connection] = []
        self._open = 0
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self.latencies: list[float] = []
        self.asked = self.failed = self.refused = 0

    async def prepare(self, count: int) -> None:
        """Open some connections beforehand."""
        await asyncio.gather(*(self._connect() for _ in range(count)))

    def ask(self, request: bytes, due: float) -> None:
        """Send a request at once, if a connection is to be had."""
        self.asked += 1
        if self._free:
            self._free.pop().send(request, due)
            return
        self._waiting.append((request, due))
        if self._open + len(self._opening) < MAX_CONNECTIONS:
            task = asyncio.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    @property
    def unanswered(self) -> int:
        """Requests still waiting or on their way."""
        return self.asked - len(self.latencies) - self.failed

    def answered(self, seconds: float, status: int) -> None:
        """A connection's: an answer came."""
        if status < 400:
            self.latencies.append(seconds)
        else:
            self.failed += 1
            self.refused += status == 503

    def is_free(self, connection: Connection) -> None:
        """A connection's: it can take a request."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def is_gone(self, connection: Connection, *, busy: bool) -> None:
        """A connection's: it was closed."""
        self._open -= 1
        self.failed += busy
        if connection in self._free:
            self._free.remove(connection)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self), self._host, self._port
            )
        except OSError:
            if self._waiting:
                self._waiting.popleft()
                self.failed += 1
            return
        self._open += 1
        self.is_free(connection)


async def generate(
    url: str, requests: Sequence[bytes], rate: float, seconds: float, seed: int
) -> LoadResult:
    """Send requests in turn at the times that are due."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    client = Client(parts.hostname or "127.0.0.1", parts.port or 80)
    await client.prepare(READY_CONNECTIONS)
    start = loop.time()
    for offset, request in zip(arrivals(rate, seconds, seed), cycle(requests), strict=False):
        if (wait := start + offset - loop.time()) > 0:
            await asyncio.sleep(wait)
        client.ask(request, start + offset)
    deadline = loop.time() + LAST_ANSWERS_S
    while client.unanswered and loop.time() < deadline:
        await asyncio.sleep(0.002)
    took = max(seconds, loop.time() - start)
    latencies = sorted(client.latencies)
    return LoadResult(
        requests=len(latencies) + client.failed + client.unanswered,
        seconds=took,
        errors=client.failed + client.unanswered,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        refused=client.refused,
    )


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Seconds from the start at which requests are due."""
    gaps = random.Random(seed)
    times = accumulate(gaps.expovariate(rate) for _ in cycle([0]))
    return list(takewhile(lambda time: time < seconds, times))


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of them that this share does not exceed; they ascend. nan of none."""
    if not ordered:
        return float("nan")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def raw_requests(url: str, bodies: Sequence[bytes], content_type: str) -> list[bytes]:
    """The bodies as HTTP requests, ready to be written."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: "
    )
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; prints a `LoadResult` as JSON."""
    parser = argparse.ArgumentParser(prog="python -m jobs.load.open_loop", description=__doc__)
    add = parser.add_argument
    add("url")
    add("bodies", type=Path)
    add("content_type")
    add("--rate", type=float, required=True, help="requests a second")
    add("--seconds", type=float, required=True)
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    requests = raw_requests(options.url, read_bodies(options.bodies), options.content_type)
    load = generate(options.url, requests, options.rate, options.seconds, options.seed)
    print(json.dumps(asdict(uvloop.run(load))))


if __name__ == "__main__":
    main()
