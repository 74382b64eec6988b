"""Bodies too large are refused before they are read, in the one error shape."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.problems import Problem, problem_response


def limit_bodies(api: FastAPI, max_bytes: int) -> None:
    """Refuse bodies of more than `max_bytes`, whether their length was declared or not."""
    # Starlette's own limit counts what arrives; of a declared length it would speak plain text.
    api.add_middleware(RequestBodyLimitMiddleware, max_body_size=max_bytes)
    api.add_middleware(DeclaredLengthLimit, max_bytes=max_bytes)


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
