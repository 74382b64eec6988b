"""Refuses forms with a line that begins like their boundary and goes on otherwise.

RFC 2046 (5.1.1) has no such lines, and lets nobody pad a boundary with spaces. The parser takes a
microsecond for each, and 10 MiB of them would hold up the event loop for seconds.
"""

from __future__ import annotations

import re

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.types import Message, Receive, Scope


class Boundaries:
    """Looks through a form's body as it arrives."""

    def __init__(self, boundary: bytes) -> None:
        start = b"\r\n--" + boundary
        self._other_line = re.compile(re.escape(start) + rb"(?!\r\n|--)(?s:..)")
        self._most_kept, self._kept = len(start) + 1, b""

    def check(self, chunk: bytes) -> None:
        """MultiPartException if such a line ends in the chunk, wherever it began."""
        seen = self._kept + chunk
        if self._other_line.search(seen):
            raise MultiPartException(
                "A line begins like the boundary and goes on; choose a boundary that no line has."
            )
        self._kept = seen[-self._most_kept :]


def with_checked_boundaries(scope: Scope, receive: Receive) -> Receive:
    """The `receive` of a request, which looks through its body if that is a form."""
    kind, options = parse_options_header(Headers(scope=scope).get("content-type"))
    if kind != b"multipart/form-data":
        return receive
    boundaries = Boundaries(options.get(b"boundary", b""))

    async def checked() -> Message:
        message = await receive()
        boundaries.check(message.get("body", b""))
        return message

    return checked
