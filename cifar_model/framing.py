"""How a picture of any size becomes the square that the network sees, and where that square was.

Training data, evaluation and serving all use it, so that all three see a picture the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Picture = NDArray[np.uint8]  # RGB, (H, W, 3)


def centre_square(height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side, in pixels, of the largest centred square of a picture."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def rgb_on_white(image: Image.Image) -> Picture:
    """A Pillow image of any mode as RGB (H, W, 3) uint8; what is transparent lies on white."""
    from PIL import Image

    if image.mode.startswith("I"):
        # 16-bit greys; Pillow's own conversion would clip them at 255.
        values = np.asarray(image).clip(0, 65535).astype(np.uint32)
        grey = ((values + 128) // 257).astype(np.uint8)
        transparent = image.info.get("transparency")
        if isinstance(transparent, int):
            grey[values == transparent] = 255
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return np.asarray(image.convert("RGB"))


def fit_to_square(picture: Picture, size: int) -> Picture:
    """The centre square of an RGB picture (H, W, 3) uint8, resized to (size, size, 3)."""
    from PIL import Image

    top, left, side = centre_square(*picture.shape[:2])
    square = picture[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    # Pillow's bicubic filter widens with the scale, so shrinking does not alias.
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)


def place_map(
    square_map: NDArray[np.float32], picture_size: tuple[int, ...]
) -> NDArray[np.float32]:
    """A map (S, S) over the centre square of a picture -> a map (H, W) over the whole of it."""
    from PIL import Image

    height, width = picture_size
    top, left, side = centre_square(height, width)
    enlarged = Image.fromarray(square_map).resize((side, side), Image.Resampling.BILINEAR)
    whole = np.zeros((height, width), np.float32)
    whole[top : top + side, left : left + side] = np.asarray(enlarged)
    return whole
