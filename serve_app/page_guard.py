"""What of Gradio's own routes the page leaves out, bounds, and answers in words.

Gradio takes a request that names no action or misses a field for a failure of its own, promises a
stream before it looks whether there is one, keeps it open for whoever asks, and has routes for what
this page does not do.
"""

from __future__ import annotations

import errno
import logging
from typing import Any

from fastapi import Request
from gradio.queueing import Queue
from gradio.route_utils import FnIndexInferError
from starlette.datastructures import QueryParams
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.body_limit import limit_bodies
from serve_app.form_boundaries import with_checked_boundaries
from serve_app.form_charset import FormCharset
from serve_app.problems import RETRY_AFTER_S, Problem, problem_response
from serve_app.readable_address import ReadableAddress
from serve_app.serve_headers import PlainHeaders
from serve_app.uploads import MAX_BODY

LOG = logging.getLogger(__name__)
# Recordings are kept for good and given to ffmpeg; the others edit, reload or watch the program,
# ask other servers, or call actions outside of the queue, which no page does today.
_LEFT_OUT = (
    "/gradio_api/run/",
    "/gradio_api/api/",
    "/gradio_api/process_recording",
    "/gradio_api/deep_link",  # shows where the answers of a session lie
    "/gradio_api/component_server",
    "/gradio_api/proxy=",
    "/gradio_api/vibe-",
    "/gradio_api/undo-vibe-",
    "/gradio_api/dev/",
    "/monitoring",
)
_UPLOAD, _INFO, _FILE = "/gradio_api/upload", "/gradio_api/info", "/gradio_api/file"
_STARTUP = "/gradio_api/startup-events"  # starts the queue, for a page that is launched
_MESSAGES, _ACTION = "/gradio_api/queue/data", "/gradio_api/call/"
_STREAMS = ("/gradio_api/heartbeat/", _MESSAGES, _ACTION, "/gradio_api/upload_progress")
# Files come by another route; what an action is given is a few words, and is kept for a while.
MOST_GIVEN = 64 * 1024  # bytes
MOST_STREAMS = 768  # open at a time, two for each visitor; Serve lets 1,024 requests in


def guarded() -> dict[str, Any]:
    """Arguments for the FastAPI application that Gradio makes."""
    # AttributeError: of a form's field where a file was expected.
    # RecursionError: of an answer that repeats what was nested too deeply.
    unreadable = (
        FnIndexInferError, AttributeError, KeyError, RecursionError, TypeError, ValueError,
    )  # fmt: skip
    # The headers once more: a Space has no Serve in front.
    around = (PlainHeaders, FormCharset, ReadableAddress, PageRoutes)
    return {
        "middleware": [Middleware(each) for each in around],
        "exception_handlers": {
            **dict.fromkeys(unreadable, _on_unreadable),
            OSError: _on_os_error,
            413: _on_too_large,
        },
    }


class PageRoutes:
    """ASGI middleware: 404 for routes that the page has no use for and for streams of nobody, 503
    for too many streams, 413 for more than an action or an upload takes, 400 for an upload with
    lines that are nearly boundaries.
    """

    def __init__(self, app: ASGIApp, most_streams: int = MOST_STREAMS) -> None:
        self.app, self.most_streams, self.streams = app, most_streams, 0
        self.actions, self.uploads = limit_bodies(app, MOST_GIVEN), limit_bodies(app, MAX_BODY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if path.startswith(_LEFT_OUT) or (path == _STARTUP and _queue(scope).active_jobs):
            problem = Problem(404, "not_found", f"the page has no {path}")
            await problem_response(problem, path)(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "GET" and path.startswith(_STREAMS):
            await self._stream(scope, receive, send)
        elif scope["type"] == "http" and not path.startswith(_UPLOAD):
            if path.rstrip("/") == _INFO:
                # Asked without a page, Gradio shows everyone the host that the first one named.
                scope = {**scope, "query_string": scope["query_string"] + b"&page="}
            await self.actions(scope, receive, send)
        elif scope["type"] == "http":
            await self.uploads(scope, with_checked_boundaries(scope, receive), send)
        else:
            await self.app(scope, receive, send)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        if problem := self._stream_problem(scope):
            await problem_response(problem, scope["path"])(scope, receive, send)
            return
        self.streams += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.streams -= 1

    def _stream_problem(self, scope: Scope) -> Problem | None:
        if self.streams >= self.most_streams:
            words = f"{self.streams} streams are open already; try again"
            return Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
        if scope["path"].startswith((_MESSAGES, _ACTION)) and not _has_messages(scope):
            return Problem(404, "not_found", "no such session or action, or its answer was read")
        return None


def _queue(scope: Scope) -> Queue:
    found: Queue = scope["app"].get_blocks()._queue
    return found


def _has_messages(scope: Scope) -> bool:
    """Whether there is an inbox for the session, or the action, whose messages are asked for."""
    queue = _queue(scope)
    if scope["path"].startswith(_MESSAGES):
        session = QueryParams(scope["query_string"]).get("session_hash")
        # Without a name it is a 422 of Gradio's.
        return session is None or session in queue.pending_messages_per_session
    action = scope["path"].rpartition("/")[2]
    # Also of one that has ended, until somebody has read its answer.
    return any(action in waited for waited in queue.pending_event_ids_session.values())


async def _on_unreadable(request: Request, error: Exception) -> Response:
    # What the page's own actions raise ends in Gradio's queue; here is what it could not read.
    path = request.scope["path"]
    # Below this one are names that visitors gave their files.
    shown = _FILE if path.startswith(_FILE) else path
    LOG.warning("%s %s can't be read", request.method, shown, exc_info=error)
    words = "the request names no action of the page, or not what that needs; see ?view=api"
    return problem_response(Problem(400, "invalid_request", words), path)


async def _on_too_large(request: Request, error: Exception) -> Response:
    path = request.scope["path"]
    most = MAX_BODY if path.startswith(_UPLOAD) else MOST_GIVEN
    words = f"the body is too large; at most {most:,} bytes"
    return problem_response(Problem(413, "body_too_large", words), path)


async def _on_os_error(request: Request, error: OSError) -> Response:
    if error.errno != errno.ENAMETOOLONG:
        raise error
    return problem_response(
        Problem(404, "not_found", "no file has such a name"), request.scope["path"]
    )
