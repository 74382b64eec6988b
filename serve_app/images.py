"""The edge: bytes from a stranger -> a checked RGB array, or an error that says what to send.

Everything behind it trusts the array. Formats: PNG, JPEG and WebP, the first frame of an animation,
turned upright as EXIF says, transparency laid over white.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from itertools import product

import numpy as np
from PIL import Image
from PIL.Image import DecompressionBombError, DecompressionBombWarning

from cifar_model.framing import Picture, rgb_on_white
from cifar_model.orientation import orientation, upright
from serve_app.containers import damaged, take_apart, webp_canvas
from serve_app.problems import Problem

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 40_000_000  # a 40-megapixel photograph
# A progressive scan goes over the whole picture, however little it holds, and takes up to 4 ns a
# pixel; with more scans than are usual a picture counts for more pixels.
_USUAL_SCANS = 10
# A lossless WebP may have a table of codes for each 16 pixels, up to 65,536 of 5 KB and 8 us each.
# Counted so, a form may hold 64 of 224x224.
_LOSSLESS_TIMES, _LOSSLESS_MOST = 12, MAX_PIXELS // 2
_TILE = 1_000_000  # pixels converted at a time


@dataclass(frozen=True)
class Opened:
    """A picture whose header has been read and found in order; its pixels are still packed."""

    image: Image.Image
    exif: bytes
    scans: int = 1
    lossless_webp: bool = False

    @property
    def pixels(self) -> int:
        """For how many it counts: those of a plain picture that takes as much to decode."""
        own = self.image.width * self.image.height
        if self.lossless_webp:
            return max(own, min(own * _LOSSLESS_TIMES, _LOSSLESS_MOST))
        return own * max(self.scans, _USUAL_SCANS) // _USUAL_SCANS

    def decode(self) -> Picture:
        """The picture, (H, W, 3) uint8, once; `Problem` (a 4xx) if it is damaged."""
        with self.image as image:
            try:
                image.load()
                return upright(_to_rgb(image), orientation(self.exif))
            except Exception as error:
                raise damaged(str(error) or type(error).__name__) from error


def decode_image(data: bytes) -> Picture:
    """The picture in these bytes, (H, W, 3) uint8; `Problem` (a 4xx) if they hold none.

    For those from strangers see `decoding`, which bounds how many are held at a time.
    """
    return open_image(data).decode()


def open_image(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Opened:
    """The picture in these bytes, not decoded yet; `Problem` (a 4xx) if they hold none."""
    if not data:
        raise Problem(400, "empty_image", "the image is empty: 0 bytes; send a PNG, JPEG or WebP")
    if len(data) > MAX_BYTES:
        raise Problem(
            413, "image_too_large", f"the image has {len(data):,} bytes; at most {MAX_BYTES:,}"
        )
    drawing = take_apart(data)
    if webp_canvas(drawing.data) > max_pixels:
        raise _too_many_pixels(max_pixels)
    try:
        image = Image.open(BytesIO(drawing.data), formats=(drawing.kind,))
    except (DecompressionBombError, DecompressionBombWarning) as error:
        # Pillow's own limit is far above ours; the warning is one where warnings are errors.
        raise _too_many_pixels(max_pixels) from error
    except Exception as error:
        # Which errors Pillow raises for bytes that it can't decode is written nowhere; fuzzing
        # found an AssertionError among them.
        raise damaged("its header can't be read") from error
    exif = drawing.exif or image.info.get("exif", b"")
    opened = Opened(image, exif, drawing.scans, drawing.lossless_webp)
    if opened.pixels > max_pixels:
        size = f": {image.width}x{image.height}, which count for {opened.pixels:,}"
        raise _too_many_pixels(max_pixels, size)
    if drawing.cut:
        raise damaged("most of its pixels are missing")
    return opened


def encode_png(picture: Picture) -> bytes:
    """A picture (H, W, 3) uint8 as PNG bytes."""
    buffer = BytesIO()
    # The fastest level: these overlays are looked at once.
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _too_many_pixels(most: int, size: str = "") -> Problem:
    words = f"the image has too many pixels{size}; at most {most:,} in all"
    return Problem(413, "image_too_large", words)


def _to_rgb(image: Image.Image) -> Picture:
    """(H, W, 3) uint8, a tile at a time: conversions need several times a tile's memory."""
    width, height = image.size
    picture = np.empty((height, width, 3), np.uint8)
    # As wide as the picture, unless a single row of it has too many pixels.
    columns = min(width, _TILE)
    rows = _TILE // columns
    for top, left in product(range(0, height, rows), range(0, width, columns)):
        bottom, right = min(height, top + rows), min(width, left + columns)
        whole = (bottom - top, right - left) == (height, width)
        tile = image if whole else image.crop((left, top, right, bottom))
        picture[top:bottom, left:right] = rgb_on_white(tile)
    return picture
