"""A bound on the requests in a replica: beyond it they are refused before their body is read.

A request counts once its body is there: who is slow to send it keeps nobody out. How many bodies
may be on their way is bounded in `slow_bodies`, how many pictures may wait for the model in
`batching`.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.problems import RETRY_AFTER_S, Problem, problem_response

# Health must answer, and the page stay usable, when the model is busy.
BOUNDED = ("/v1/classify", "/v1/explain", "/v2/models")


class Admission:
    """ASGI middleware: at most `limit` requests to the models at a time; the others get a 503."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit, self.inside = app, limit, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(BOUNDED):
            await self.app(scope, receive, send)
            return
        if self.inside >= self.limit:
            words = f"{self.limit} requests are waiting already; try again in {RETRY_AFTER_S} s"
            problem = Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        whole = False

        async def receive_and_count() -> Message:
            nonlocal whole
            message = await receive()
            if not whole and not message.get("more_body", False):
                whole = True
                self.inside += 1
            return message

        try:
            await self.app(scope, receive_and_count, send)
        finally:
            self.inside -= whole
