"""A body that takes too long to arrive is given up with a 408, in the one error shape.

RAY_CIFAR_BODY_SECONDS  how long it may take (default 30)

Without this, who sends a byte a minute holds a place in the replica for an hour.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.environment import positive_number
from serve_app.problems import Problem, problem_response

_NAME = "RAY_CIFAR_BODY_SECONDS"
BODY_SECONDS = 30.0  # for 10 MiB: 350 KB a second


def read_body_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """The time that a body may take; InputError if the environment holds no number above 0."""
    return positive_number(environment, _NAME, "a number of seconds") or BODY_SECONDS


def install_body_deadline(api: FastAPI, seconds: float) -> None:
    """Answer 408 to requests whose body is not there after `seconds`."""
    api.add_middleware(BodyDeadline, seconds=seconds)


class BodyDeadline:
    """ASGI middleware: waits for a request's body until a deadline, and no longer.

    One timer looks after all requests: a timeout of its own for each would take 20 microseconds.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app, self.seconds = app, seconds
        self._waiting: dict[asyncio.Task[Any], float] = {}  # for a body, until when
        self._overdue: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def _receive(self, receive: Receive, deadline: float) -> Message:
        """The next part of a body; TimeoutError at the deadline, or up to a tenth later."""
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = deadline
        if self._timer is None:
            self._look_again()
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._overdue:
                raise
            task.uncancel()  # it was ours
            raise TimeoutError from None
        finally:
            del self._waiting[task]
            self._overdue.discard(task)

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.seconds / 10, self._give_up_late_ones)

    def _give_up_late_ones(self) -> None:
        now = asyncio.get_running_loop().time()
        for task, deadline in self._waiting.items():
            if deadline <= now and task not in self._overdue:
                self._overdue.add(task)
                task.cancel()
        self._timer = None
        if self._waiting:
            self._look_again()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self.seconds
        whole = late = started = False

        async def receive_in_time() -> Message:
            nonlocal whole, late
            if whole:  # what comes now is the end of the connection, whenever that is
                return await receive()
            try:
                message = await self._receive(receive, deadline)
            except TimeoutError:
                late = True
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
        if late and not started:
            words = f"the body did not arrive within {self.seconds:g} s"
            response = problem_response(Problem(408, "body_too_slow", words), scope["path"])
            response.headers["Connection"] = "close"
            await response(scope, receive, send)
