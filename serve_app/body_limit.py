"""Bodies too large are refused before they are read, in the one error shape."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.problems import Problem, problem_response


def limit_bodies(app: ASGIApp, max_bytes: int) -> ASGIApp:
    """ASGI middleware: refuses bodies of more than `max_bytes`, be their length declared or not."""
    # Starlette's own limit counts what arrives; of a declared length it would speak plain text.
    return DeclaredLengthLimit(RequestBodyLimitMiddleware(app, max_body_size=max_bytes), max_bytes)


class DeclaredLengthLimit:
    """ASGI middleware: answers 413 to a request whose Content-Length is over the limit."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app, self.max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            declared = Headers(scope=scope).get("content-length", "")
            if declared.isdecimal() and int(declared) > self.max_bytes:
                words = f"the body has {int(declared):,} bytes; at most {self.max_bytes:,}"
                response = problem_response(Problem(413, "body_too_large", words), scope["path"])
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)
