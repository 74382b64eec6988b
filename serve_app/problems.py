"""What goes wrong with a request, in one JSON shape: {"error": {"code", "message"}}.

Below /v2 it is {"error": message, "code": code}: clients of that protocol expect a string.
"""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger(__name__)
RETRY_AFTER_S = 1  # of those who are refused because too many wait
_CODES = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


class Problem(Exception):
    """A request that can't be answered: an HTTP status, a machine-readable code, and words."""

    def __init__(
        self, status: int, code: str, message: str, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        # It passes between processes when the page asks a replica.
        return _problem, (self.status, self.code, self.message, self.retry_after_s)


def _problem(status: int, code: str, message: str, retry_after_s: int | None) -> Problem:
    return Problem(status, code, message, retry_after_s=retry_after_s)


def problem_response(problem: Problem, path: str) -> JSONResponse:
    """The HTTP answer to a problem with a request to this path."""
    content: dict[str, Any] = {"error": {"code": problem.code, "message": problem.message}}
    if path == "/v2" or path.startswith("/v2/"):
        content = {"error": problem.message, "code": problem.code}
    wait = problem.retry_after_s
    headers = None if wait is None else {"Retry-After": str(wait)}
    return JSONResponse(content, status_code=problem.status, headers=headers)


def install_handlers(api: FastAPI) -> None:
    """Answer every kind of error in the one shape."""
    api.add_middleware(LastResort)

    @api.exception_handler(Problem)
    async def on_problem(request: Request, problem: Problem) -> JSONResponse:
        return problem_response(problem, request.scope["path"])

    @api.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = Problem(422, "invalid_parameter", f"{place}: {first['msg']}")
        return problem_response(problem, request.scope["path"])

    @api.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> JSONResponse:
        code = _CODES.get(error.status_code, f"http_{error.status_code}")
        problem = Problem(error.status_code, code, str(error.detail))
        answer = problem_response(problem, request.scope["path"])
        answer.headers.update(error.headers or {})
        return answer


class LastResort:
    """ASGI middleware: what nobody foresaw is logged in full, and answered without its details."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_and_note(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            if scope["type"] != "http" or started:
                raise
            LOG.exception("%s %s failed", scope["method"], scope["path"])
            problem = Problem(500, "internal_error", "the server failed; its log says why")
            await problem_response(problem, scope["path"])(scope, receive, send)
