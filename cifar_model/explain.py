"""Grad-CAM (Selvaraju et al., arXiv:1610.02391): in closed form on the default layer, and through
the grad-cam package for other layers and methods."""

from __future__ import annotations

import copy
import threading

import numpy as np
import torch
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.layers import DEFAULT_METHOD, EXPLAINABLE_LAYERS, EXPLANATION_METHODS
from cifar_model.resnet9 import ResNet9


def closed_form(
    maps_CHW: NDArray[np.float32], weights_C: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """Grad-CAM (size, size) in 0..1 on the maps that feed the global max-pool and the linear layer.

    There the gradient of a class's logit is its weight w_k at each channel's maximum and zero
    elsewhere, so its mean over the map is w_k / (H W), and no backward pass is needed.

    maps_CHW: the last feature maps of one image; weights_C: the linear layer's for the class.
    """
    import cv2

    height, width = maps_CHW.shape[1:]
    coarse = np.tensordot(weights_C / (height * width), maps_CHW, axes=1)
    # As the package does it: negative evidence is dropped, and 0..1 before and after enlarging.
    return _to_unit(cv2.resize(_to_unit(np.maximum(coarse, 0)), (size, size)))


def _to_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = values - values.min()
    return np.asarray(shifted / (1e-7 + shifted.max()), dtype=np.float32)


class GradCam:
    """Grad-CAM maps of one network, one at a time.

    The package hangs hooks on the network and keeps activations on itself, so it works on a copy of
    its own, behind a lock: forward passes elsewhere never meet a hook.
    """

    def __init__(self, network: ResNet9) -> None:
        self._network = copy.deepcopy(network).eval()
        self._lock = threading.Lock()

    def __call__(
        self,
        images_1CHW: torch.Tensor,
        class_index: int,
        layer: str,
        method: str = DEFAULT_METHOD,
    ) -> NDArray[np.float32]:
        """The map (S, S) in 0..1 of one normalised image (1, 3, S, S) for one class and layer.

        method: one of `layers.EXPLANATION_METHODS`; Eigen-CAM is the same for every class.
        """
        from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        check_layer(layer)
        kinds = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "eigencam": EigenCAM}
        if method not in kinds:
            raise InputError(f"method {method!r}: expected one of {', '.join(EXPLANATION_METHODS)}")
        with self._lock, torch.enable_grad():
            target_layer = self._network.get_submodule(layer)
            with kinds[method](self._network, [target_layer]) as cam:
                # A copy: on the CPU the package overwrites what it is given.
                maps = cam(images_1CHW.clone(), [ClassifierOutputTarget(class_index)])
        return np.asarray(maps[0], dtype=np.float32)


def check_layer(layer: str) -> None:
    """InputError if the layer can't be explained."""
    if layer not in EXPLAINABLE_LAYERS:
        raise InputError(f"layer {layer!r}: expected one of {', '.join(EXPLAINABLE_LAYERS)}")
