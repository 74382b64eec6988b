"""Per-channel mean and spread of the training images: measured once, applied everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation of the training images, in units of 0..1."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def count_values(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each channel has each value, (3, 256), in images (N, S, S, 3)."""
    import numpy as np

    counts = np.zeros((3, 256), np.int64)
    # A few at a time: bincount makes 64-bit numbers of all that it counts.
    step = max(1, 2**22 // images[0, ..., 0].size) if len(images) else 1
    for start in range(0, len(images), step):
        part = images[start : start + step]
        counts += [np.bincount(part[..., c].reshape(-1), minlength=256) for c in range(3)]
    return counts


def measure_normalisation(images: NDArray[np.uint8]) -> Normalisation:
    """Mean and standard deviation of each channel over images (N, S, S, 3), in units of 0..1."""
    return normalisation_of(count_values(images))


def normalisation_of(counts: NDArray[np.int64]) -> Normalisation:
    """The same from `count_values`, which add up over parts of the images."""
    import numpy as np

    values = np.arange(256) / 255
    mean = [float((n * values).sum() / n.sum()) for n in counts]
    variance = [
        float((n * (values - m) ** 2).sum() / n.sum()) for n, m in zip(counts, mean, strict=True)
    ]
    # A constant channel has no spread; 1 leaves it at zero after normalising.
    std = [v**0.5 if v > 1e-12 else 1.0 for v in variance]
    return Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def normalise(images_BHWC: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S), channels-last, zero mean and unit spread."""
    # A GPU that is given a value and not told to go on waits for all it has in hand.
    device = images_BHWC.device
    mean, scale = (part.to(device, non_blocking=True) for part in mean_and_scale(normalisation))
    return ((images_BHWC.float() - mean) * scale).permute(0, 3, 1, 2)


def mean_and_scale(normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    """What a pixel of 0..255 is shifted down by and then multiplied with, float32 (3,) each."""
    import torch

    mean = torch.tensor(normalisation.mean) * 255
    return mean, 1 / (torch.tensor(normalisation.std) * 255)
