"""From a backend's arrays to what people see: top-k lists, and maps over whole pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture, place_map
from cifar_model.overlay import overlay
from cifar_model.predictor import Explanation
from serve_app.schemas import Prediction


def top_predictions(
    probabilities: NDArray[np.float32], class_names: tuple[str, ...], top_k: int
) -> list[Prediction]:
    """The `top_k` most probable classes (all, if there are fewer), best first."""
    best = np.argsort(-probabilities, kind="stable")[:top_k]
    return [
        Prediction(label=class_names[i], index=int(i), probability=float(probabilities[i]))
        for i in best
    ]


def explained_picture(picture: Picture, explanation: Explanation, opacity: float) -> Picture:
    """The picture, at its own resolution, with the map over the square that the network saw."""
    whole = place_map(explanation.map, picture.shape[:2])
    return overlay(picture, whole, opacity=opacity)
