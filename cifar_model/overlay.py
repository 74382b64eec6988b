"""A Grad-CAM map laid over its picture in colour; needs no PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture

_AT_A_TIME = 500_000  # pixels


def overlay(picture: Picture, map_HW: NDArray[np.float32], *, opacity: float = 0.5) -> Picture:
    """The picture (H, W, 3) with the map over it in colour, at the picture's own resolution.

    opacity: 0 shows the picture alone; at 1 the strongest places show the colour alone. Where the
    map is 0 the picture stays as it is.
    """
    from matplotlib import colormaps

    turbo = colormaps["turbo"]
    pixels, heat = picture.reshape(-1, 3), map_HW.ravel()
    laid = np.empty_like(pixels)
    # Some at a time: of 40 megapixels the numbers in between would take 4 GB. Counted in pixels and
    # not in rows, of which a picture may have a single one.
    for start in range(0, len(pixels), _AT_A_TIME):
        part = slice(start, start + _AT_A_TIME)
        colours = turbo(heat[part])[:, :3] * 255
        weight = opacity * heat[part, None]
        laid[part] = np.round(pixels[part] * (1 - weight) + colours * weight)
    return laid.reshape(picture.shape)
