"""Forms whose names are in an encoding that nobody sends are refused before they are parsed.

A form may name the encoding of its fields, and Python has some whose decoders take the square of
the length (punycode), or keep the names that they don't know for ever. Reading the header that
names it takes the square of its length too, so that is bounded.
"""

from __future__ import annotations

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.problems import Problem, problem_response

LONGEST = 1024  # characters of a Content-Type; a boundary has 70 at most
TAKEN = {b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1"}


class FormCharset:
    """ASGI middleware: 400 `invalid_form` for such a form, 415 for a Content-Type too long."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for header in Headers(scope=scope).getlist("content-type"):
                if problem := content_type_problem(header):
                    await problem_response(problem, scope["path"])(scope, receive, send)
                    return
        await self.app(scope, receive, send)


def content_type_problem(content_type: str) -> Problem | None:
    """What is wrong with a request's Content-Type, if anything."""
    if len(content_type) > LONGEST:
        words = f"a Content-Type of {len(content_type):,} characters; at most {LONGEST:,}"
        return Problem(415, "unsupported_media_type", words)
    kind, options = parse_options_header(content_type)
    charset = options.get(b"charset", b"utf-8").lower()
    if kind == b"multipart/form-data" and charset not in TAKEN:
        return Problem(
            400, "invalid_form", "the form names a charset that forms don't have; send utf-8"
        )
    return None
