"""How a picture of any size becomes the square that the network sees, and where that square was.

Training data, evaluation and serving all use it, so that all three see a picture the same way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def centre_square(height: int, width: int) -> tuple[int, int, int]:
    """Top, left and side, in pixels, of the largest centred square of a picture."""
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def fit_to_square(image_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The centre square of an RGB picture (H, W, 3) uint8, resized to (size, size, 3)."""
    from PIL import Image

    top, left, side = centre_square(*image_HWC.shape[:2])
    square = image_HWC[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    # Pillow's bicubic filter widens with the scale, so shrinking does not alias.
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized)
