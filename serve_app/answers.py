"""From a backend's arrays to what people see: top-k lists, and maps over whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture, place_map
from cifar_model.overlay import overlay
from cifar_model.predictor import Explanation

LONGEST = 65_536  # pixels along a side
GAP = 8  # pixels between pictures in a row


class Prediction(TypedDict):
    """One class and its probability, as `schemas.Prediction` documents it."""

    label: str
    index: int
    probability: float


def top_predictions(
    probabilities: NDArray[np.float32],
    class_names: tuple[str, ...],
    top_k: int,
    threshold: float = 0.0,
) -> list[Prediction]:
    """The `top_k` most probable classes (all, if there are fewer), best first.

    threshold: leave out classes that are less probable.
    """
    best = np.argsort(-probabilities, kind="stable")[:top_k].tolist()
    return [
        {"label": class_names[i], "index": i, "probability": float(probabilities[i])}
        for i in best
        if probabilities[i] >= threshold
    ]


def explained_picture(picture: Picture, explanation: Explanation, opacity: float) -> Picture:
    """The picture, at its own resolution, with the map over the square that the network saw."""
    whole = place_map(explanation.map, picture.shape[:2])
    return overlay(picture, whole, opacity=opacity)


def shrunk(picture: Picture, most: int) -> Picture:
    """The picture in its own proportions with about `most` pixels, or as it is if it has fewer.

    One of a few rows or columns can't keep its proportions: it is cut down to `LONGEST`.
    """
    height, width = picture.shape[:2]
    if height * width <= most:
        return picture
    from PIL import Image

    scale = (most / (height * width)) ** 0.5
    size = tuple(min(LONGEST, max(1, round(side * scale))) for side in (width, height))
    # Pillow's filter holds a weight for every pixel of a side; whole factors it may take out first.
    gap = 1.0 if max(height, width) > LONGEST else None
    image = Image.fromarray(picture).resize(size, Image.Resampling.BOX, reducing_gap=gap)
    return np.asarray(image)


def enlarged(picture: Picture, side: int) -> Picture:
    """A small picture in whole pixels, about `side` pixels wide: the browser would blur them."""
    factor = max(1, side // picture.shape[1])
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def side_by_side(pictures: Sequence[Picture]) -> NDArray[np.uint8]:
    """Pictures of one height in a row, RGBA (H, W, 4), with transparent gaps between them."""
    space = np.zeros((pictures[0].shape[0], GAP, 4), np.uint8)
    parts = []
    for picture in pictures:
        alpha = np.full((*picture.shape[:2], 1), 255, np.uint8)
        parts += [space, np.concatenate([picture, alpha], axis=2)]
    return np.concatenate(parts[1:], axis=1)
