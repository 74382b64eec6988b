"""A body that takes too long to arrive is given up with a 408, in the one error shape.

RAY_CIFAR_BODY_SECONDS  how long it may take (default 30)

Where more than `MAX_ARRIVING` are on their way to a replica, the one that has been longest makes
way for the newest, with a 503: many who send a byte a second keep nobody else out. Where bodies,
those that are being answered included, have more than `MOST_BYTES` together, the one on its way
that has most makes way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.environment import positive_number
from serve_app.problems import RETRY_AFTER_S, Problem, problem_response

SETTING = "RAY_CIFAR_BODY_SECONDS"
BODY_SECONDS = 30.0  # for 10 MiB: 350 KB a second
MAX_ARRIVING = 256
MOST_BYTES = 256 * 2**20  # of bodies in a replica: 25 of the largest


def read_body_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """The time that a body may take; InputError if the environment holds no number above 0."""
    return positive_number(environment, SETTING, "a number of seconds") or BODY_SECONDS


def install_body_deadline(
    api: FastAPI, seconds: float, most: int = MAX_ARRIVING, most_bytes: int = MOST_BYTES
) -> None:
    """Answer 408 to requests whose body is not there after `seconds`.

    503 where more than `most` are on their way, or hold more than `most_bytes` together.
    """
    api.add_middleware(BodyDeadline, seconds=seconds, most=most, most_bytes=most_bytes)


class BodyDeadline:
    """ASGI middleware: waits for `most` bodies at a time, each until a deadline, and no longer.

    One timer looks after all requests: a timeout of its own for each would take 20 microseconds.
    """

    def __init__(self, app: ASGIApp, seconds: float, most: int, most_bytes: int) -> None:
        self.app, self.seconds, self.most, self.most_bytes = app, seconds, most, most_bytes
        # Bytes of bodies, until their request is answered or given up.
        self._held: dict[asyncio.Task[Any], int] = {}
        self._bytes = 0
        self._waiting: dict[asyncio.Task[Any], float] = {}  # for a body, until when
        self._given_up: dict[asyncio.Task[Any], Problem] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def _receive(self, task: asyncio.Task[Any], receive: Receive, deadline: float) -> Message:
        """The next part of a task's body; its `Problem` at the deadline, or up to a tenth later."""
        if len(self._waiting) - len(self._given_up) >= self.most:
            words = f"more than {self.most} bodies are on their way, this one for longest"
            problem = Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
            oldest = min(self._left(), key=self._waiting.__getitem__)
            if deadline < self._waiting[oldest]:
                raise problem
            self._give_up(oldest, problem)
        self._waiting[task] = deadline
        if self._timer is None:
            self._look_again()
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._given_up:
                raise
            task.uncancel()  # it was ours
            raise self._given_up[task] from None
        finally:
            del self._waiting[task]
            self._given_up.pop(task, None)

    def _hold(self, task: asyncio.Task[Any], size: int) -> None:
        """Room for so many more bytes of a request's body; `Problem` if there is none."""
        if not size:
            return
        own = self._held.get(task, 0)
        while self._bytes > own and self._bytes + size > self.most_bytes:
            words = f"bodies of {self._bytes:,} bytes are here already; try again"
            problem = Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
            holders = [other for other in self._left() if other in self._held]
            if not holders:
                raise problem
            largest = max(holders, key=self._held.__getitem__)
            self._give_up(largest, problem)
            self._release(largest)
        self._held[task] = own + size
        self._bytes += size

    def _release(self, task: asyncio.Task[Any]) -> None:
        self._bytes -= self._held.pop(task, 0)

    def _left(self) -> list[asyncio.Task[Any]]:
        """Those that wait and were not given up."""
        return [task for task in self._waiting if task not in self._given_up]

    def _give_up(self, task: asyncio.Task[Any], problem: Problem) -> None:
        self._given_up[task] = problem
        task.cancel()

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.seconds / 10, self._give_up_late_ones)

    def _give_up_late_ones(self) -> None:
        now = asyncio.get_running_loop().time()
        words = f"the body did not arrive within {self.seconds:g} s"
        for task in self._left():
            if self._waiting[task] <= now:
                self._give_up(task, Problem(408, "body_too_slow", words))
        self._timer = None
        if self._waiting:
            self._look_again()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self.seconds
        whole = started = False
        late: Problem | None = None
        receivers: set[asyncio.Task[Any]] = set()  # one, as a rule

        async def receive_in_time() -> Message:
            nonlocal whole, late
            if whole:  # what comes now is the end of the connection, whenever that is
                return await receive()
            task = asyncio.current_task()
            assert task is not None
            receivers.add(task)
            try:
                message = await self._receive(task, receive, deadline)
                self._hold(task, len(message.get("body", b"")))
            except Problem as problem:
                late = problem
                raise
            whole = not message.get("more_body", False)
            return message

        async def send_unless_late(message: Message) -> None:
            nonlocal started
            if late and not started:
                return  # the application's own words for what it did not get
            started = True
            await send(message)

        try:
            await self.app(scope, receive_in_time, send_unless_late)
        except Exception:
            if not late:
                raise
        finally:
            for task in receivers:
                self._release(task)
        if late and not started:
            response = problem_response(late, scope["path"])
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
