"""The edge: bytes from a stranger -> a checked RGB array, or an error that says what to send.

Everything behind it trusts the array. Formats: PNG, JPEG and WebP, the first frame of an animation,
turned upright as EXIF says, transparency laid over white.
"""

from __future__ import annotations

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cifar_model.framing import Picture
from serve_app.problems import Problem

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 10 * 2**20
MAX_PIXELS = 40_000_000  # a 40-megapixel photograph


def decode_image(data: bytes) -> Picture:
    """The picture in these bytes, (H, W, 3) uint8; `Problem` (a 4xx) if they hold none."""
    if not data:
        raise Problem(400, "empty_image", "the image is empty: 0 bytes; send a PNG, JPEG or WebP")
    if len(data) > MAX_BYTES:
        raise Problem(
            413, "image_too_large", f"the image has {len(data):,} bytes; at most {MAX_BYTES:,}"
        )
    try:
        with warnings.catch_warnings():
            # Pillow's own limit only warns; ours below is far under it.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise Problem(
            413, "image_too_large", f"the image has too many pixels; at most {MAX_PIXELS:,}"
        ) from error
    except (UnidentifiedImageError, ValueError, OSError, SyntaxError) as error:
        raise Problem(
            415, "unsupported_image", "the bytes are not a PNG, JPEG or WebP image"
        ) from error
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise Problem(
                413,
                "image_too_large",
                f"the image is {width}x{height} pixels; at most {MAX_PIXELS:,} in all",
            )
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
        except (OSError, ValueError, SyntaxError, EOFError, MemoryError, TypeError) as error:
            raise Problem(
                400, "damaged_image", f"the image is damaged or truncated: {error}"
            ) from error


def encode_png(picture: Picture) -> bytes:
    """A picture (H, W, 3) uint8 as PNG bytes."""
    buffer = BytesIO()
    # The fastest level: these overlays are looked at once.
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _to_rgb(image: Image.Image) -> Picture:
    if image.mode.startswith(("I", "F")):
        # 16-bit greys; Pillow's own conversion would clip them at 255.
        values = np.asarray(image, dtype=np.float64)
        scaled = np.clip(values / (257 if values.max() > 255 else 1), 0, 255)
        image = Image.fromarray(np.round(scaled).astype(np.uint8), "L")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))
