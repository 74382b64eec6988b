"""Grad-CAM in closed form on the default layer, for the price of the forward pass.

Grad-CAM: Selvaraju et al., arXiv:1610.02391.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def grad_cam_from_class_map(class_map_hw: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Grad-CAM (size, size) in 0..1 of the maps that feed the global max-pool and linear layer.

    There the gradient of a class's logit is its weight w_k at each channel's maximum and zero
    elsewhere, so its mean over the h w places is w_k / (h w), and no backward pass is needed.

    class_map_hw: the sum over channels of w_k times the feature map, for the class.
    """
    import cv2

    # As the package does it: negative evidence is dropped, and 0..1 before and after enlarging.
    coarse = np.maximum(class_map_hw, 0) / class_map_hw.size
    return _to_unit(cv2.resize(_to_unit(coarse), (size, size)))


def _to_unit(values: NDArray[np.floating]) -> NDArray[np.float32]:
    shifted = values - values.min()
    return np.asarray(shifted / (1e-7 + shifted.max()), dtype=np.float32)
