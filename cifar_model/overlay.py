"""A Grad-CAM map laid over its picture in colour; needs no PyTorch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture


def overlay(picture: Picture, map_HW: NDArray[np.float32], *, opacity: float = 0.5) -> Picture:
    """The picture (H, W, 3) with the map over it in colour, at the picture's own resolution.

    opacity: 0 shows the picture alone; at 1 the strongest places show the colour alone. Where the
    map is 0 the picture stays as it is.
    """
    from matplotlib import colormaps

    colours = colormaps["turbo"](map_HW)[..., :3] * 255
    weight = opacity * map_HW[..., None]
    return np.round(picture * (1 - weight) + colours * weight).astype(np.uint8)
