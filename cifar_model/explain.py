"""Grad-CAM and its relatives at any layer, through the grad-cam package.

The default layer has a closed form: `class_map`.
"""

from __future__ import annotations

import copy
import threading

import numpy as np
import torch
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_METHOD, EXPLAINABLE_LAYERS, EXPLANATION_METHODS
from cifar_model.normalisation import Normalisation, normalise
from cifar_model.resnet9 import ResNet9


class GradCam:
    """Grad-CAM maps of one network, one at a time.

    The package hangs hooks on the network and keeps activations on itself, so it works on a copy of
    its own, on the CPU and behind a lock: forward passes elsewhere never meet a hook.
    """

    def __init__(self, network: ResNet9, normalisation: Normalisation) -> None:
        self._network = copy.deepcopy(network).eval()
        self._normalisation = normalisation
        self._lock = threading.Lock()

    def __call__(
        self, framed: Picture, class_index: int, layer: str, method: str = DEFAULT_METHOD
    ) -> NDArray[np.float32]:
        """The map (S, S) in 0..1 of one framed picture (S, S, 3) for one class and layer.

        method: one of `layers.EXPLANATION_METHODS`; Eigen-CAM is the same for every class.
        """
        from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        from cifar_model.eigen_cam import SignedEigenCam

        check_layer(layer)
        kinds = {"gradcam": GradCAM, "gradcam++": GradCAMPlusPlus, "eigencam": SignedEigenCam}
        if method not in kinds:
            raise InputError(f"method {method!r}: expected one of {', '.join(EXPLANATION_METHODS)}")
        images = normalise(torch.from_numpy(np.array(framed)[None]), self._normalisation)
        with self._lock, torch.enable_grad():
            target_layer = self._network.get_submodule(layer)
            with kinds[method](self._network, [target_layer]) as cam:
                maps = cam(images, [ClassifierOutputTarget(class_index)])
        return np.asarray(maps[0], dtype=np.float32)


def check_layer(layer: str) -> None:
    """InputError if the layer can't be explained."""
    if layer not in EXPLAINABLE_LAYERS:
        raise InputError(f"layer {layer!r}: expected one of {', '.join(EXPLAINABLE_LAYERS)}")
