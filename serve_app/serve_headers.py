"""Headers that no request steers by: what of them Ray Serve, and the page, get to hear.

Serve reads some of them before any endpoint does, and takes bytes that are no text for a failure of
its own. With two of them a client would set its own deadline, whose end Serve answers in other
words than ours, or keep a request alive that it has abandoned.

Of others nothing here makes use, but they are read all the same. FastAPI parses the cookies of each
request, in the square of their length. Gradio lets scripts of every origin read its answers, fails
on an origin without a host, and answers a range with the headers of the request, or a part of a
file compressed by itself.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.early_refusal import EarlyRefusal
from serve_app.unread_answers import UnreadAnswers

_STEERING = (b"x-request-timeout-seconds", b"x-request-disconnect-disabled")
_UNUSED = (b"cookie", b"origin", b"range")
_READ = (
    b"x-request-id",
    b"x-session-id",
    b"serve-multiplexed-model-id",
)
LONGEST = 200  # characters; a request's ID comes back with its answer and stands in the logs


def middlewares() -> list[Middleware]:
    """What runs around all that Serve does, the last outermost.

    Serve asks for them by RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH.
    """
    return [Middleware(UnreadAnswers), Middleware(PlainHeaders), Middleware(EarlyRefusal)]


class PlainHeaders:
    """ASGI middleware: takes out of a request what nobody should act upon."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if headers := scope.get("headers"):
            scope = {**scope, "headers": [(n, v) for n, v in headers if _passes(n, v)]}
        await self.app(scope, receive, send)


def _passes(name: bytes, value: bytes) -> bool:
    name = name.replace(b"_", b"-")  # to Serve they are the same
    if name in _STEERING or name in _UNUSED:
        return False
    return name not in _READ or (len(value) <= LONGEST and value.isascii())
