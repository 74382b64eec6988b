"""Test-time augmentation: the logits of a picture and of its mirror image, averaged.

`auto` re-examines only the pictures that the model is unsure of, and so costs a fraction of a
second forward pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.recipe import Recipe

SURE = 0.9  # of the probability that the model was taught to give the right class


def mirrors_help(recipe: Recipe) -> bool:
    """Whether mirror images belong to what the model was trained on."""
    return recipe.flip != "none"


def mirrored(squares_BSS3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mirror images."""
    return np.ascontiguousarray(squares_BSS3[:, :, ::-1])


def sure_from(recipe: Recipe, num_classes: int) -> float:
    """How probable a picture's best class must be for `auto` to leave it at one look.

    With label smoothing e the right one of K classes was taught as 1 - e + e / K, not as 1.
    """
    return SURE * (1 - recipe.label_smoothing * (num_classes - 1) / num_classes)


def unsure(probabilities_BK: NDArray[np.float32], sure: float) -> NDArray[np.bool_]:
    """(B,): which pictures `auto` looks at again; `sure`: what `sure_from` gives."""
    return probabilities_BK.max(axis=1) < sure
