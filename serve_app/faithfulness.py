"""How faithful a map is: how far its class's probability falls when the highlighted part goes.

The highlighted part is where the map is strongest, as far as it is above zero: at most a fifth of
the square. It is replaced by the mean colour of the training images, which the network sees as
zeros. For comparison as much of the rest goes instead, where the map is weakest. (The deletion idea
of Petsiuk et al., arXiv:1806.07421, in one step.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture
from cifar_model.predictor import Explanation, softmax
from serve_app.backends import Backend

REMOVED_SHARE = 0.2  # of the square's area, at most


@dataclass(frozen=True)
class Faithfulness:
    """The explained class's probability, 0..1, before and after removing parts of the picture."""

    whole: float
    without_strongest: float
    without_weakest: float
    share: float  # of the square's area, which each of the two parts has
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
    parts = strongest_and_weakest(explanation.map)
    strongest, weakest = (remove(square, places, colour) for places in parts)
    logits = await backend.logits(np.stack([strongest, weakest]), model=model)
    without = softmax(logits)
    k = explanation.class_index
    return Faithfulness(
        float(explanation.probabilities[k]),
        float(without[0][k]),
        float(without[1][k]),
        len(parts[0]) / explanation.map.size,
        strongest,
    )


def strongest_and_weakest(
    map_SS: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in the flattened map: of its strongest part, and of as large a part of the rest.

    Of a map of few places both are small: places without evidence are none of the strongest.
    """
    values = map_SS.ravel()
    # Many places have the same value, most often zero. In reading order they would be one strip of
    # the picture; so those that count are scattered, over the same places each time.
    scattered = np.random.default_rng(0).permutation(values.size)
    order = np.lexsort((scattered, values))
    count = min(int(REMOVED_SHARE * values.size), int(np.count_nonzero(values > 0)))
    return order[order.size - count :], order[:count]


def remove(square: Picture, places: NDArray[np.int64], colour: NDArray[np.uint8]) -> Picture:
    """The square (S, S, 3) with these places, as if it were flat, in one colour (3,)."""
    changed = square.copy()
    changed.reshape(-1, 3)[places] = colour
    return changed
