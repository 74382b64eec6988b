"""One loaded model ready to run: framed RGB pictures -> probabilities and Grad-CAM maps.

Serving and the Space both stand on it; it imports neither Lightning nor albumentations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cifar_model.explain import GradCam, closed_form
from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_LAYER, DEFAULT_METHOD
from cifar_model.model_config import ModelConfig
from cifar_model.model_folder import load_model
from cifar_model.normalisation import normalise
from cifar_model.resnet9 import ResNet9

Framed = Sequence[Picture] | NDArray[np.uint8]  # B pictures (S, S, 3)


@dataclass(frozen=True)
class Explanation:
    """A Grad-CAM map and what it explains."""

    probabilities: NDArray[np.float32]  # (K,), sum 1
    class_index: int
    layer: str
    method: str
    map: NDArray[np.float32]  # (S, S) over the square that the network saw, 0..1


class Predictor:
    """A model on one device. `probabilities` may be called from many threads, as may `explain`."""

    def __init__(self, network: ResNet9, config: ModelConfig) -> None:
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.grad_cam = GradCam(self.network)

    @classmethod
    def load(cls, folder: Path) -> Predictor:
        """The model of a model folder; InputError if it can't be used."""
        return cls(*load_model(folder))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes in the order of the probabilities."""
        return self.config.class_names

    def logits(self, framed: Framed) -> NDArray[np.float32]:
        """Logits (B, K) of framed pictures (B, S, S, 3)."""
        with torch.inference_mode():
            return self.network(self._input(framed)).float().cpu().numpy()

    def probabilities(self, framed: Framed) -> NDArray[np.float32]:
        """Softmax probabilities (B, K) of framed pictures (B, S, S, 3)."""
        return softmax(self.logits(framed))

    def explain(
        self,
        framed: Picture,
        *,
        class_index: int | None = None,
        layer: str = DEFAULT_LAYER,
        method: str = DEFAULT_METHOD,
    ) -> Explanation:
        """Grad-CAM of one framed picture (S, S, 3).

        class_index: the class to explain; None for the most probable one.
        layer: one of `layers.EXPLAINABLE_LAYERS`; method: one of `layers.EXPLANATION_METHODS`.
        """
        images = self._input([framed])
        with torch.inference_mode():
            maps = self.network.features(images)
            logits = self.network.head(maps)
        probabilities = softmax(logits.float().cpu().numpy())[0]
        target = int(probabilities.argmax()) if class_index is None else class_index
        if (layer, method) == (DEFAULT_LAYER, DEFAULT_METHOD):
            linear = self.network.linear.weight.detach() * self.network.logit_scale
            last, weights = maps[0].float().cpu().numpy(), linear[target].float().cpu().numpy()
            found = closed_form(last, weights, self.config.image_size)
        else:
            found = self.grad_cam(images, target, layer, method)
        return Explanation(probabilities, target, layer, method, found)

    def _input(self, framed: Framed) -> torch.Tensor:
        images = torch.from_numpy(np.asarray(framed)).to(self.device)
        return normalise(images, self.config.normalisation)


def softmax(logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis."""
    shifted = np.exp(logits_BK - logits_BK.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
