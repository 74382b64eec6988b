"""The pictures of a request: raw bytes or a form.

Each picture fails alone: what is wrong with one says nothing of its neighbours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from cifar_model.framing import Picture
from serve_app.decoding import Framed, decode, decoded, framed_or_raise
from serve_app.form_boundaries import with_checked_boundaries
from serve_app.images import MAX_BYTES
from serve_app.inference_schemas import MAX_PICTURES
from serve_app.problems import Problem

# A form around a picture of the largest size needs a little more than the picture.
MAX_BODY = MAX_BYTES + 64 * 1024

_KINDS = ("image/png", "image/jpeg", "image/webp")
_BINARY = {"type": "string", "format": "binary"}


def image_body(*, several: bool) -> dict[str, Any]:
    """What OpenAPI says of a request body that `read_uploads` reads."""
    file: dict[str, Any] = _BINARY
    if several:  # in a form, one is an array of one
        file = {"type": "array", "items": _BINARY, "minItems": 1, "maxItems": MAX_PICTURES}
    form = {
        "schema": {"type": "object", "required": ["file"], "properties": {"file": file}},
        "encoding": {"file": {"contentType": ", ".join(_KINDS)}},
    }
    how_many = f"One to {MAX_PICTURES} pictures" if several else "A picture"
    return {
        "requestBody": {
            "required": True,
            "description": f"{how_many}, PNG, JPEG or WebP: as form fields `file`, or one as the "
            "body itself.",
            "content": {
                "multipart/form-data": form,
                **{kind: {"schema": _BINARY} for kind in _KINDS},
            },
        }
    }


@dataclass(frozen=True)
class Upload:
    """One picture of a request as the network sees it, or why there is none."""

    name: str  # of the file in the form, or ""
    found: Framed | Problem


async def read_uploads(request: Request, size: int, most: int = MAX_PICTURES) -> list[Upload]:
    """The pictures of a request, framed to squares of `size`; `Problem` if it holds none.

    Together they may have as many pixels as one alone; each beyond that has its `Problem`.
    """
    files = await _read_files(request, most)
    found = await decode([data for _, data in files], size)
    return [Upload(name, part) for (name, _), part in zip(files, found, strict=True)]


@asynccontextmanager
async def read_upload(request: Request, size: int) -> AsyncIterator[tuple[Picture, Framed]]:
    """The one picture of a request, whole and framed; `Problem` if there is not exactly one.

    The block is where the whole picture is needed: until it ends, room is held for it.
    """
    files = await _read_files(request, most=1)
    async with decoded([data for _, data in files], size, whole=True) as (found,):
        framed = framed_or_raise(found)
        assert framed.picture is not None
        yield framed.picture, framed


async def _read_files(request: Request, most: int) -> list[tuple[str, bytes]]:
    """Names and contents of a request's files."""
    # As the form's parser reads it, and whoever looks at its charset before.
    kind = parse_options_header(request.headers.get("content-type"))[0].decode("latin-1")
    if kind == "multipart/form-data":
        async with _form(request) as form:
            parts = form.getlist("file")
            if not parts or not all(isinstance(part, UploadFile) for part in parts):
                raise Problem(400, "missing_file", "the form has no file field named 'file'")
            if len(parts) > most:
                words = f"{len(parts)} fields named 'file'; at most {most}"
                raise Problem(422, "too_many_files", words)
            return [
                (part.filename or "", await part.read())
                for part in parts
                if isinstance(part, UploadFile)
            ]
    if kind.startswith("image/") or kind in ("", "application/octet-stream"):
        return [("", await request.body())]
    raise Problem(
        415,
        "unsupported_media_type",
        f"content type {kind}: send multipart/form-data with a field 'file', "
        "or the bytes of a picture as image/png, image/jpeg or image/webp",
    )


class _Form(MultiPartParser):
    """Starlette's parser, which of itself takes a form that breaks off for a shorter one."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


@asynccontextmanager
async def _form(request: Request) -> AsyncIterator[FormData]:
    body = Request(request.scope, with_checked_boundaries(request.scope, request.receive)).stream()
    parser = _Form(request.headers, body, max_files=MAX_PICTURES, max_fields=8)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Problem(400, "invalid_form", f"the form can't be read: {error.message}") from error
    try:
        if not parser.ended:
            raise Problem(400, "invalid_form", "the form breaks off before its closing boundary")
        yield form
    finally:
        await form.close()
