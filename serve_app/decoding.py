"""Pictures of a request decoded and framed off the event loop, within the budget of pixels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from cifar_model.framing import Picture, fit_to_square
from serve_app.images import MAX_PIXELS, Opened, open_image
from serve_app.pixel_budget import PixelBudget
from serve_app.problems import Problem

T = TypeVar("T")
# Requests whose pictures have no more pixels together are decoded at once and not counted: 256 of
# them have the pixels of two of the largest pictures.
SMALL = 250_000  # pixels
# Decoding takes up to 8 bytes a pixel, and seconds: pictures larger than these are worked on two at
# a time, and in threads of their own, so that the others need not wait.
LARGE = 4_000_000  # pixels
_LARGE_ONES = ThreadPoolExecutor(2, thread_name_prefix="large-pictures")
BUDGET = PixelBudget()


@dataclass(frozen=True)
class Framed:
    """A picture as the network sees it, and its own size in pixels."""

    square: Picture  # (S, S, 3)
    height: int
    width: int
    picture: Picture | None  # the whole of it, where it was asked for


async def decode(files: Sequence[bytes], size: int) -> list[Framed | Problem]:
    """The squares of these files' pictures, or why there is none; see `decoded`."""
    async with decoded(files, size, whole=False) as found:
        return found


@asynccontextmanager
async def decoded(
    files: Sequence[bytes], size: int, *, whole: bool
) -> AsyncIterator[list[Framed | Problem]]:
    """The pictures in these files, framed to squares of `size`, each with its problem if any.

    Together they may have as many pixels as one alone.

    whole: keep the pictures beside their squares. Inside the block the budget holds room for them,
        so do nothing there that doesn't need them.
    """
    found = await asyncio.to_thread(_open, files, size, whole)
    sizes = [part.pixels for part in found if isinstance(part, Opened)]
    if not sizes:
        yield [part for part in found if not isinstance(part, Opened)]
        return
    pixels = sum(sizes)
    async with BUDGET.room_for(pixels):
        yield await in_thread(pixels, lambda: _decode(found, size, whole))


def framed_or_raise(found: Framed | Problem) -> Framed:
    """The picture, or its `Problem` raised."""
    if isinstance(found, Problem):
        raise found
    return found


async def in_thread(pixels: int, work: Callable[[], T]) -> T:
    """What the work on pictures of so many pixels returns, done off the event loop."""
    pool = _LARGE_ONES if pixels > LARGE else None
    return await asyncio.get_running_loop().run_in_executor(pool, work)


def _open(files: Sequence[bytes], size: int, whole: bool) -> list[Framed | Problem | Opened]:
    """Small pictures decoded, and the headers of the others read."""
    left = MAX_PIXELS
    found: list[Framed | Problem | Opened] = []
    for data in files:
        try:
            opened = open_image(data, max_pixels=left)
            left -= opened.pixels
            small = MAX_PIXELS - left <= SMALL
            found.append(_frame(opened, size, whole) if small else opened)
        except Problem as problem:
            found.append(problem)
    return found


def _decode(
    opened: Sequence[Framed | Problem | Opened], size: int, whole: bool
) -> list[Framed | Problem]:
    found: list[Framed | Problem] = []
    for part in opened:
        try:
            found.append(_frame(part, size, whole) if isinstance(part, Opened) else part)
        except Problem as problem:
            found.append(problem)
    return found


def _frame(opened: Opened, size: int, whole: bool) -> Framed:
    picture = opened.decode()
    height, width = picture.shape[:2]
    return Framed(fit_to_square(picture, size), height, width, picture if whole else None)
