"""The pictures of a request: raw bytes or a form, decoded and framed off the event loop.

Each picture fails alone: what is wrong with one says nothing of its neighbours.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request

from cifar_model.framing import Picture, fit_to_square
from serve_app.images import MAX_BYTES, MAX_PIXELS, decode_image
from serve_app.problems import Problem

MAX_PICTURES = 64  # in one request
# A form around a picture of the largest size needs a little more than the picture.
MAX_BODY = MAX_BYTES + 64 * 1024

_BINARY = {"type": "string", "format": "binary"}


def image_body(*, several: bool) -> dict[str, Any]:
    """What OpenAPI says of a request body that `read_uploads` reads."""
    file: dict[str, Any] = _BINARY
    if several:
        file = {
            "oneOf": [_BINARY, {"type": "array", "items": _BINARY, "maxItems": MAX_PICTURES}],
        }
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    how_many = f"One to {MAX_PICTURES} pictures" if several else "A picture"
    return {
        "requestBody": {
            "required": True,
            "description": f"{how_many}, PNG, JPEG or WebP: as form fields `file`, or one as the "
            "body itself.",
            "content": {
                "multipart/form-data": {"schema": form},
                "image/png": {"schema": _BINARY},
                "image/jpeg": {"schema": _BINARY},
                "image/webp": {"schema": _BINARY},
            },
        }
    }


@dataclass(frozen=True)
class Upload:
    """One picture of a request, whole and as the network sees it; or why there is none."""

    name: str  # of the file in the form, or ""
    picture: Picture | None = None
    square: Picture | None = None
    problem: Problem | None = None


async def read_uploads(request: Request, size: int, most: int = MAX_PICTURES) -> list[Upload]:
    """The pictures of a request, framed to squares of `size`; `Problem` if it holds none.

    Together they may have as many pixels as one alone; each beyond that has its `Problem`.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=MAX_PICTURES, max_fields=8) as form:
            parts = form.getlist("file")
            if not parts or not all(isinstance(part, UploadFile) for part in parts):
                raise Problem(400, "missing_file", "the form has no file field named 'file'")
            if len(parts) > most:
                words = f"{len(parts)} fields named 'file'; at most {most}"
                raise Problem(422, "too_many_files", words)
            files = [
                (part.filename or "", await part.read())
                for part in parts
                if isinstance(part, UploadFile)
            ]
    elif kind.startswith("image/") or kind in ("", "application/octet-stream"):
        files = [("", await request.body())]
    else:
        raise Problem(
            415,
            "unsupported_media_type",
            f"content type {kind}: send multipart/form-data with a field 'file', "
            "or the bytes of a picture as image/png, image/jpeg or image/webp",
        )
    return await asyncio.to_thread(_read_files, files, size)


async def read_upload(request: Request, size: int) -> tuple[Picture, Picture]:
    """The one picture of a request, whole and framed; `Problem` if there is not exactly one."""
    uploads = await read_uploads(request, size, most=1)
    return whole(uploads[0])


def whole(upload: Upload) -> tuple[Picture, Picture]:
    """An upload's picture and square; raises the `Problem` with it, if any."""
    if upload.problem is not None:
        raise upload.problem
    assert upload.picture is not None and upload.square is not None
    return upload.picture, upload.square


def _read_files(files: list[tuple[str, bytes]], size: int) -> list[Upload]:
    left, uploads = MAX_PIXELS, []
    for name, data in files:
        try:
            picture = decode_image(data, max_pixels=left)
        except Problem as problem:
            uploads.append(Upload(name, problem=problem))
            continue
        left -= picture.shape[0] * picture.shape[1]
        uploads.append(Upload(name, picture, fit_to_square(picture, size)))
    return uploads
