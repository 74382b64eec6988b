"""Convolutions in 8 bits: what OpenVINO needs to know to compute them so, with no picture seen.

One scale for the numbers that go into a convolution, and one for each output channel of its weights
(Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient inference"). How far the
numbers reach is not measured on pictures but read off batch norm, whose output is spread around
`shift` by `gain` (as in Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction").
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from openvino import opset13 as ops

# Standard deviations. On training images, 4 to 12 kept the same classes but for 2 in 1,000.
REACH = 8.0
LEVELS = 256  # of 8 bits
# Weights take half of their range: CPUs without VNNI add two products in 16 bits, and 2 * 255 * 64
# is the most that fits.
WEIGHT_ROOM = 2.0
LEAST = 1e-6  # a range is never empty


def highest_after_norm(gain: NDArray[Any], shift: NDArray[Any]) -> float:
    """What nearly all numbers of all channels stay below after batch norm and ReLU."""
    return max(LEAST, float((shift + REACH * np.abs(gain)).max()))


def quantised(x: Any, low: float, high: float) -> Any:
    """The numbers of a graph's node in 256 steps from `low` to `high`."""
    ends = np.float32(low), np.float32(high)
    return ops.fake_quantize(x, *ends, *ends, LEVELS)


def quantised_weights(weight: NDArray[Any]) -> Any:
    """Weights (out, in, h, w) in steps of their own for each output channel, zero among them."""
    largest = np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
    high = WEIGHT_ROOM * np.maximum(largest, LEAST).astype(np.float32)
    constant = ops.constant(weight.astype(np.float32))
    return ops.fake_quantize(constant, -high, high, -high, high, LEVELS - 1)
