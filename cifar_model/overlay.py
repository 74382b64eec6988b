"""A Grad-CAM map laid over its picture in colour; needs no PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture

_STRIP = 500_000  # pixels


def overlay(picture: Picture, map_HW: NDArray[np.float32], *, opacity: float = 0.5) -> Picture:
    """The picture (H, W, 3) with the map over it in colour, at the picture's own resolution.

    opacity: 0 shows the picture alone; at 1 the strongest places show the colour alone. Where the
    map is 0 the picture stays as it is.
    """
    from matplotlib import colormaps

    turbo = colormaps["turbo"]
    laid = np.empty_like(picture)
    # A strip at a time: at 40 megapixels the numbers in between would take 4 GB.
    rows = max(1, _STRIP // picture.shape[1])
    for top in range(0, len(picture), rows):
        strip = slice(top, top + rows)
        colours = turbo(map_HW[strip])[..., :3] * 255
        weight = opacity * map_HW[strip, :, None]
        laid[strip] = np.round(picture[strip] * (1 - weight) + colours * weight)
    return laid
