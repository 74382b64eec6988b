"""Forms: which are read, however they arrive, and which are refused before they take time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

import pytest
from starlette.requests import Request

from serve_app.decoding import Framed
from serve_app.problems import Problem
from serve_app.uploads import MAX_PICTURES, Upload, read_uploads
from tests.faults.bad_pictures import red_png

PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
END = b"\r\n--b--\r\n"


def read(*pieces: bytes) -> list[Upload]:
    """What is in a form that arrives in these pieces."""
    waiting = [*pieces]

    async def receive() -> dict[str, object]:
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(waiting)}

    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    return asyncio.run(read_uploads(Request(scope, receive), 8))


def cut(body: bytes, size: int) -> Iterable[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


@pytest.mark.parametrize("size", [7, 1000, 10**6])
def test_a_form_of_as_many_pictures_as_may_be_is_read_in_any_pieces(size):
    body = b"\r\n".join([PART + red_png()] * MAX_PICTURES) + END
    uploads = read(*cut(body, size))
    assert [type(upload.found) for upload in uploads] == [Framed] * MAX_PICTURES


@pytest.mark.parametrize("line", [b"", b"-", b"--", b"--a", b"--B", b" --b"])
def test_a_part_may_hold_lines_that_begin_otherwise_than_its_boundary(line):
    (upload,) = read(PART + red_png() + b"\r\n" + line + b"x" + END)
    assert isinstance(upload.found, Framed)


@pytest.mark.parametrize("line", [b"--bx", b"--b-", b"--b\rx", b"--b ", b"--b\t\r\n"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 10**6])
def test_a_line_that_only_begins_as_its_boundary_does_is_none_of_a_form(line, size):
    with pytest.raises(Problem) as refused:
        read(*cut(PART + red_png() + b"\r\n" + line + END, size))
    assert (refused.value.status, refused.value.code) == (400, "invalid_form")


@pytest.mark.parametrize(
    "filling", [b"\r\n--bx" * 1_400_000, b"\r\n--b" + b" " * 10_000_000], ids=["lines", "spaces"]
)
def test_megabytes_of_what_is_nearly_a_boundary_take_no_time(filling):
    start = time.thread_time()
    with pytest.raises(Problem) as refused:
        read(*cut(PART + filling + END, 2**16))
    assert (refused.value.status, refused.value.code) == (400, "invalid_form")
    assert time.thread_time() - start < 1  # of computing; a busy machine takes longer to do it
