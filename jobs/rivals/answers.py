"""What every rival does around its model: bytes to pixels, probabilities to JSON."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

TOP = 5


def decode(data: bytes, size: int) -> NDArray[np.uint8]:
    """The picture in these bytes, (size, size, 3)."""
    with Image.open(BytesIO(data)) as image:
        picture = image.convert("RGB")
    return np.asarray(picture if picture.size == (size, size) else picture.resize((size, size)))


def named(probabilities: NDArray[np.float32], class_names: tuple[str, ...]) -> dict[str, Any]:
    """The most probable classes of (K,), best first."""
    best = np.argsort(probabilities)[::-1][:TOP]
    return {
        "predictions": [
            {"label": class_names[i], "probability": float(probabilities[i])} for i in best
        ]
    }
