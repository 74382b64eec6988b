"""Steady requests to a server, each answer checked: what failed, how, and for how long."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field

from jobs.load.open_loop import percentile

RETRYABLE = {500, 502, 503, 504}  # Serve's proxy says 500 of a replica that went; see README.md


@dataclass
class Outcome:
    """What became of the requests."""

    asked: int = 0
    wrong: list[str] = field(default_factory=list)  # a 200 with another answer than the model's
    failed: Counter[str] = field(default_factory=Counter)  # first tries that failed, by how
    failed_twice: Counter[str] = field(default_factory=Counter)  # and after one retry
    latencies_s: list[float] = field(default_factory=list)
    failure_times: list[float] = field(default_factory=list)  # time.monotonic()

    @property
    def succeeded_with_one_retry(self) -> float:
        """Share of the requests that were answered at the first or second try."""
        return 1 - sum(self.failed_twice.values()) / max(1, self.asked)

    def outage_s(self) -> float:
        """Time from the first failed try to the last."""
        times = self.failure_times
        return max(times) - min(times) if times else 0.0

    def quantile_s(self, share: float) -> float:
        """A quantile of the latencies of answers."""
        return percentile(sorted(self.latencies_s), share) if self.latencies_s else 0.0


class SteadyLoad:
    """Threads that send one request after another at a given rate in all, until stopped.

    expected: the predicted class of `picture`; any other answer is a wrong one.
    retry_after_s: how long a client waits before it tries again, once.
    """

    def __init__(
        self, port: int, picture: bytes, expected: int, *, rate: float, threads: int = 8,
        path: str = "/v1/classify?top_k=1", retry_after_s: float = 1.0, host: str = "127.0.0.1",
    ) -> None:  # fmt: skip
        self.outcome = Outcome()
        self._host, self._port, self._picture, self._expected = host, port, picture, expected
        self._path, self._pause, self._retry_after_s = path, threads / rate, retry_after_s
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]

    def __enter__(self) -> SteadyLoad:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        due = time.monotonic() + self._pause * number / len(self._threads)
        connection = None
        while not self._stop.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + self._pause, time.monotonic())
            started = time.monotonic()
            why, connection = self._ask(connection)
            again = None
            if why is not None:
                time.sleep(self._retry_after_s)
                again, connection = self._ask(connection)
            with self._lock:
                self.outcome.asked += 1
                if why is None:
                    self.outcome.latencies_s.append(time.monotonic() - started)
                else:
                    self.outcome.failed[why] += 1
                    self.outcome.failure_times.append(started)
                if again is not None:
                    self.outcome.failed_twice[again] += 1

    def _ask(
        self, connection: http.client.HTTPConnection | None
    ) -> tuple[str | None, http.client.HTTPConnection | None]:
        """None if it was answered rightly, else why not; and a connection to go on with."""
        import json

        connection = connection or http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            headers = {"content-type": "image/png"}
            connection.request("POST", self._path, self._picture, headers)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__, None
        if answer.status != 200:
            return str(answer.status), connection
        found = json.loads(body)["predictions"][0]["index"]
        if found != self._expected:
            with self._lock:
                self.outcome.wrong.append(body.decode())
        return None, connection


def show(what: str, outcome: Outcome, **more: object) -> None:
    """Print the figures of a case, for RELIABILITY.md."""
    figures = {
        "requests": outcome.asked,
        "wrong": len(outcome.wrong),
        "failed": dict(outcome.failed),
        "failed after one retry": dict(outcome.failed_twice),
        "outage_s": round(outcome.outage_s(), 2),
        "p99_ms": round(outcome.quantile_s(0.99) * 1000),
        **more,
    }
    print(f"\n{what}: {figures}")


def check_after_a_kill(outcome: Outcome, retryable: Set[int] = frozenset(RETRYABLE)) -> None:
    """None wrong, and none that a client with one retry would see."""
    assert not outcome.wrong
    statuses = {int(why) for why in outcome.failed if why.isdecimal()}
    assert statuses <= retryable
    assert not outcome.failed_twice
