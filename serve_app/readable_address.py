"""A request whose own address Gradio can't read is refused before anything is made of it.

Gradio puts links together from the host that a request names, also once it has promised an answer:
where it fails then, the visitor waits for ever.
"""

from __future__ import annotations

import httpx
from gradio.route_utils import get_request_origin
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.problems import Problem, problem_response


class ReadableAddress:
    """ASGI middleware: 400 `invalid_request` for such a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                # Its own reading, of X-Forwarded-Host and others too, and not one like it.
                get_request_origin(Request(scope), scope["path"])
            except (httpx.InvalidURL, ValueError):
                words = "the request's address can't be read: its host, its path or its query"
                problem = Problem(400, "invalid_request", words)
                await problem_response(problem, scope["path"])(scope, receive, send)
                return
        await self.app(scope, receive, send)
