"""One loaded model ready to run: framed RGB pictures -> probabilities and Grad-CAM maps.

Serving and the Space both stand on it; it imports neither Lightning nor albumentations, and PyTorch
only where its engine or an explanation needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cifar_model.class_map import grad_cam_from_class_map
from cifar_model.engine import Engine, EngineName, Forward, Squares, load_engine
from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_LAYER, DEFAULT_METHOD
from cifar_model.model_config import ModelConfig, read_config, same_model
from cifar_model.model_folder import load_model

if TYPE_CHECKING:
    from cifar_model.explain import GradCam


class FolderChanged(InputError):
    """A model's folder no longer holds the model that was loaded from it."""


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

    def __init__(self, engine: Engine, config: ModelConfig, folder: Path) -> None:
        self.engine, self.config, self.folder = engine, config, folder

    @classmethod
    def load(
        cls, folder: Path, *, engine: EngineName = "auto", threads: int | None = None
    ) -> Predictor:
        """The model of a model folder; InputError if it can't be used.

        engine: what runs the forward pass, one of `engine.ENGINES`.
        threads: of a forward pass on a CPU; None for all cores.
        """
        config = read_config(folder)
        return cls(load_engine(folder, config, engine, threads=threads), config, folder)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes in the order of the probabilities."""
        return self.config.class_names

    def forward(self, framed: Squares) -> Forward:
        """Logits (B, K) and class maps (B, K, h, w) of framed pictures (B, S, S, 3)."""
        # PyTorch warns of an array that it could not write to, such as one from Ray's object store.
        return self.engine(np.require(framed, requirements=("C", "W")))

    def logits(self, framed: Squares) -> NDArray[np.float32]:
        """Logits (B, K) of framed pictures (B, S, S, 3)."""
        return self.forward(framed).logits_BK

    def probabilities(self, framed: Squares) -> NDArray[np.float32]:
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
            FolderChanged for another than the default, the first time, if the folder has changed.
        """
        return self.explain_from(self.forward([framed]), framed, class_index, layer, method)

    def explain_from(
        self, found: Forward, framed: Picture, class_index: int | None, layer: str, method: str
    ) -> Explanation:
        """As `explain`, of a picture whose forward pass, a batch of one, was made already."""
        probabilities = softmax(found.logits_BK)[0]
        target = int(probabilities.argmax()) if class_index is None else class_index
        if (layer, method) == (DEFAULT_LAYER, DEFAULT_METHOD):
            map_SS = grad_cam_from_class_map(
                found.class_maps_BKhw[0, target], self.config.image_size
            )
        else:
            map_SS = self.grad_cam(framed, target, layer, method)
        return Explanation(probabilities, target, layer, method, map_SS)

    @cached_property
    def grad_cam(self) -> GradCam:
        """For other layers and methods, which need PyTorch and the network's gradients.

        It is read when it is first needed: FolderChanged if the folder holds another model by then.
        """
        from cifar_model.explain import GradCam

        try:
            network, config = load_model(self.folder)
        except (InputError, OSError) as error:
            raise FolderChanged(str(error)) from error
        if not same_model(config, self.config):
            raise FolderChanged(f"model {self.folder}: another than was loaded lies there now")
        return GradCam(network, config.normalisation)


def softmax(logits_BK: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities along the last axis."""
    shifted = np.exp(logits_BK - logits_BK.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)
