"""What is asked of which server, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError

JPEG = "image/jpeg"
BOUNDARY = "picture-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@dataclass(frozen=True)
class Bodies:
    """A file of request bodies, each behind its length in four bytes, the highest first."""

    path: Path
    content_type: str
    pictures: int  # in each body


@dataclass(frozen=True)
class Target:
    """Where the bodies are sent, each in its turn."""

    url: str
    bodies: Bodies


@dataclass(frozen=True)
class LoadResult:
    """How a load was answered."""

    requests: int
    seconds: float
    # Connections that failed, answers with a status from 400 on, answers that never came.
    errors: int
    p50_ms: float
    p99_ms: float
    refused: int = 0  # of the errors, answers with a 503; the open-loop client counts them

    @property
    def answered(self) -> int:
        """Requests that got what they asked for."""
        return max(0, self.requests - self.errors)


def check_enough(pictures: int, batch: int) -> None:
    """InputError for fewer pictures than are sent at a time."""
    if pictures < batch:
        raise InputError(f"--data: {pictures} test pictures, expected {batch} or more")


def write_bodies(path: Path, bodies: Sequence[bytes], content_type: str, pictures: int) -> Bodies:
    """Write the file."""
    with path.open("wb") as file:
        for body in bodies:
            file.write(len(body).to_bytes(4, "big") + body)
    return Bodies(path, content_type, pictures)


def read_bodies(path: Path) -> list[bytes]:
    """The bodies in a file of `write_bodies`."""
    content, bodies, start = path.read_bytes(), [], 0
    while start < len(content):
        end = start + 4 + int.from_bytes(content[start : start + 4], "big")
        bodies.append(content[start + 4 : end])
        start = end
    return bodies


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """An RGB picture (H, W, 3) as JPEG bytes."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def form(files: Sequence[bytes]) -> bytes:
    """JPEGs as the fields `file` of one multipart form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{i}.jpg"\r\n'
        f"Content-Type: {JPEG}\r\n\r\n".encode()
        + file
        + b"\r\n"
        for i, file in enumerate(files)
    ]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
