"""A bound on the requests in a replica: beyond it they are refused before their body is read.

The bound is what the replica answers in WAIT_S at the speed that it has just shown, by Little's
law: a request that found N inside and took T seconds says N / T a second. So it follows a model
that is slower than others, or cores that are shared. A refusal costs little (`early_refusal`), but
very many still slow the replica down. That must not lower the bound, or still more would be
refused; so at least BEST_SPEED_SHARE of the best recent speed is assumed.

A request counts once its body is there: who is slow to send it keeps nobody out. How many bodies
may be on their way is bounded in `slow_bodies`, how many pictures may wait for the model in
`batching`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.problems import RETRY_AFTER_S, Problem, problem_response

# Health must answer, and the page stay usable, when the model is busy.
BOUNDED = ("/v1/classify", "/v1/explain", "/v2/models")
WAIT_S = 0.7  # so long a request should wait; the slowest hundredth waits twice as long
LEAST_INSIDE = 16  # may be, however slow it is; fewer say little of the speed under load
AVERAGED_OVER = 32  # requests, about: the speed is a running mean
BEST_SPEED_SHARE = 0.8  # so much of the best recent speed is assumed at least
BEST_SPEED_HALF_LIFE_S = 30.0


class Occupancy:
    """How many requests to the models are in a replica, and how many may be: at most `limit`."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit, self.inside, self.clock = limit, 0, clock
        self._per_second: float | None = None  # answers, under load
        self._best, self._learned = 0.0, 0.0  # of that, and when

    @property
    def bound(self) -> int:
        """How many may be inside now."""
        if self._per_second is None:
            return self.limit
        speed = max(self._per_second, BEST_SPEED_SHARE * self._best)
        return max(LEAST_INSIDE, min(self.limit, round(speed * WAIT_S)))

    @property
    def is_full(self) -> bool:
        """Whether one more would be one too many now."""
        return self.inside >= self.bound

    def learn(self, found: int, seconds: float) -> None:
        """A request that found so many inside, itself among them, was answered."""
        if found < LEAST_INSIDE:
            return
        per_second = found / max(1e-3, seconds)
        known = per_second if self._per_second is None else self._per_second
        self._per_second = known + (per_second - known) / AVERAGED_OVER
        now = self.clock()
        faded = self._best * 0.5 ** ((now - self._learned) / BEST_SPEED_HALF_LIFE_S)
        self._best, self._learned = max(self._per_second, faded), now


class Admission:
    """ASGI middleware: as many requests to the models as the occupancy has room for.

    The others get a 503.
    """

    def __init__(self, app: ASGIApp, occupancy: Occupancy) -> None:
        self.app, self.occupancy = app, occupancy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_bounded(scope):
            await self.app(scope, receive, send)
            return
        occupancy = self.occupancy
        if occupancy.is_full:
            await refuse(scope, receive, send)
            return
        found: int | None = None  # inside with it, once its body is whole
        entered, status = 0.0, 0

        async def receive_and_count() -> Message:
            nonlocal found, entered
            message = await receive()
            if found is None and not message.get("more_body", False):
                occupancy.inside += 1
                found, entered = occupancy.inside, occupancy.clock()
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive_and_count, send_and_note)
        finally:
            if found is not None:
                occupancy.inside -= 1
                if status == 200:
                    occupancy.learn(found, occupancy.clock() - entered)


def is_bounded(scope: Scope) -> bool:
    """Whether a request is one for a model."""
    return scope["type"] == "http" and scope["path"].startswith(BOUNDED)


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one that is too many; an ASGI application."""
    words = f"too many requests are waiting already; try again in {RETRY_AFTER_S} s"
    problem = Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
    await problem_response(problem, scope["path"])(scope, receive, send)
