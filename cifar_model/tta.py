"""Test-time augmentation: the logits of a picture and of its mirror image, averaged.

`auto` re-examines only the pictures that the model is unsure of, and so costs a fraction of a
second forward pass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cifar_model.recipe import Recipe

# Pictures whose best class is less probable than this are looked at again. Mistakes are rare above.
UNSURE_BELOW = 0.9


def mirrors_help(recipe: Recipe) -> bool:
    """Whether mirror images belong to what the model was trained on."""
    return recipe.flip != "none"


def mirrored(squares_BSS3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mirror images."""
    return np.ascontiguousarray(squares_BSS3[:, :, ::-1])


def unsure(probabilities_BK: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(B,): which pictures `auto` looks at again."""
    return probabilities_BK.max(axis=1) < UNSURE_BELOW
