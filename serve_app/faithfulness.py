"""How faithful a map is: how far its class's probability falls when the highlighted part goes.

The highlighted part is the fifth of the square where the map is strongest. It is replaced by the
mean colour of the training images, which the network sees as zeros. For comparison the fifth where
the map is weakest goes instead. (The deletion idea of Petsiuk et al., arXiv:1806.07421, in one
step.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture
from cifar_model.predictor import Explanation, softmax
from serve_app.backends import Backend

REMOVED_SHARE = 0.2  # of the square's area


@dataclass(frozen=True)
class Faithfulness:
    """The explained class's probability, 0..1, before and after removing parts of the picture."""

    whole: float
    without_strongest: float
    without_weakest: float
    removed: Picture  # the square (S, S, 3) without its strongest part

    @property
    def fall(self) -> float:
        """How far the probability falls without the highlighted part; negative if it rises."""
        return self.whole - self.without_strongest


async def measure_faithfulness(
    backend: Backend, square: Picture, explanation: Explanation, model: str
) -> Faithfulness | None:
    """Two more classifications of the square; None if its map highlights nothing."""
    if not explanation.map.any():
        return None
    config = backend.models[model]
    colour = np.round(np.array(config.normalisation.mean) * 255).astype(np.uint8)
    strongest = remove(square, explanation.map, colour)
    weakest = remove(square, -explanation.map, colour)
    logits = await backend.logits(np.stack([strongest, weakest]), model=model)
    without = softmax(logits)
    k = explanation.class_index
    return Faithfulness(
        float(explanation.probabilities[k]), float(without[0][k]), float(without[1][k]), strongest
    )


def remove(square: Picture, map_SS: NDArray[np.float32], colour: NDArray[np.uint8]) -> Picture:
    """The square (S, S, 3) with the fifth where the map (S, S) is largest in one colour (3,)."""
    count = round(REMOVED_SHARE * map_SS.size)
    places = np.argsort(-map_SS, axis=None, kind="stable")[:count]
    changed = square.copy()
    changed.reshape(-1, 3)[places] = colour
    return changed
