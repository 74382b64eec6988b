"""Eigen-CAM (Muhammad and Yeasin, arXiv:2008.00299) with a sign, and in the memory of its maps.

The package's own takes a basis of as many vectors as a map has places: 10 GiB for 448x448 pixels at
the first layer. And a principal component may as well be its negative, which lights up the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM


class SignedEigenCam(EigenCAM):
    """The package's class with the projection below."""

    def get_cam_image(
        self,
        input_tensor: Any,
        target_layer: Any,
        target_category: Any,
        activations: NDArray[np.float32],
        grads: Any,
        eigen_smooth: bool,
    ) -> NDArray[np.float32]:
        """One map (h, w) for each image's activations (C, h, w)."""
        return np.stack([principal_map(maps_CHW) for maps_CHW in activations])


def principal_map(maps_CHW: NDArray[np.float32]) -> NDArray[np.float32]:
    """Activations (C, h, w), less their means, along their first principal component: (h, w).

    Its sign is the one that gives the largest value (Chung and Ying, Appl. Sci. 2025, 15, 7562,
    equation 13).
    """
    places = maps_CHW.reshape(len(maps_CHW), -1).T
    centred = places - places.mean(axis=0)
    component = np.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    found = (centred @ component).reshape(maps_CHW.shape[1:])
    return found if found.max() >= -found.min() else -found
