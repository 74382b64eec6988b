"""The forward pass in OpenVINO, built from a model folder's tensors without PyTorch.

OpenVINO picks the precision that the CPU computes natively: bfloat16 where it has it, else float32.
Asked for, it computes the 3x3 convolutions in 8 bits; see `int8`.
Batch norm is folded into the convolutions where that is exact. What it brings over PyTorch is
measured by `python -m jobs.bench engines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from cifar_model.engine import Forward
from cifar_model.int8 import highest_after_norm, quantised, quantised_weights
from cifar_model.model_config import ModelConfig
from cifar_model.weights import CONV_BLOCKS, NORM_TENSORS, POOLED, norm_prefix, read_weights

# One for the process, outliving its engines: a Core has its thread take signals on a stack of its
# own. With two, the end of both in turn left a stack that was freed (2026.4), and the next signal
# ended the process.
CORE = openvino.Core()
NORM_EPSILON = 1e-5  # PyTorch's default, which the network uses
Tensors = dict[str, NDArray[Any]]


class OpenVinoEngine:
    """See `engine.Engine`."""

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        *,
        threads: int | None = None,
        int8: bool = False,
    ) -> None:
        tensors = read_weights(folder, config)
        # Latency: one batch at a time on all threads; the batches are gathered elsewhere.
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        graph = build(tensors, config, int8=int8)
        self._compiled = CORE.compile_model(graph, "CPU", options)

    def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """See `engine.Engine`."""
        # A request of its own for each call, so that threads never share a buffer.
        found = self._compiled.create_infer_request().infer([squares_BSS3])
        logits, class_maps = (found[output] for output in self._compiled.outputs)
        return Forward(logits, class_maps)


@dataclass(frozen=True)
class Features:
    """Feature maps (B, C, h, w) of the graph, and between which numbers nearly all theirs lie."""

    node: Any
    low: float
    high: float


def build(tensors: Tensors, config: ModelConfig, *, int8: bool = False) -> openvino.Model:
    """The graph of `resnet9.ResNet9`: squares (B, S, S, 3) uint8 -> logits and class maps.

    int8: the 3x3 convolutions in 8 bits; all else is in floating point.
    """
    size = config.image_size
    mean = np.array(config.normalisation.mean, np.float32) * 255
    std = np.array(config.normalisation.std, np.float32) * 255
    squares = ops.parameter([-1, size, size, 3], np.uint8, name="squares")
    pixels = ops.divide(ops.subtract(ops.convert(squares, "f32"), mean), std)
    pixels = ops.transpose(pixels, np.array([0, 3, 1, 2]))
    x = Features(pixels, float((-mean / std).min()), float(((255 - mean) / std).max()))
    for block in ("prep", "layer1"):
        x = _conv_block(x, tensors, block, int8)
    x = _residual(x, tensors, "res1", int8)
    for block in ("layer2", "layer3"):
        x = _conv_block(x, tensors, block, int8)
    maps = _residual(x, tensors, "res2", int8).node

    weights = (tensors["linear.weight"] * config.recipe.logit_scale).astype(np.float32)
    bias = (tensors["linear.bias"] * config.recipe.logit_scale).astype(np.float32)
    pooled = ops.reduce_max(maps, np.array([2, 3]))
    logits = ops.add(ops.matmul(pooled, weights, False, True), bias)
    class_maps = _convolution(maps, weights[:, :, None, None], padding=0)
    return openvino.Model([logits, class_maps], [squares], "resnet9")


def _conv_block(x: Features, tensors: Tensors, block: str, int8: bool) -> Features:
    """Convolution -> (max-pool) -> batch norm -> ReLU, as in `resnet9.conv_block`."""
    norm = norm_prefix(block)
    gain, shift, mean, variance = (tensors[f"{norm}.{name}"] for name in NORM_TENSORS)
    scale = gain / np.sqrt(variance + NORM_EPSILON)
    weight, bias = tensors[f"{block}.0.weight"], tensors[f"{block}.0.bias"]
    # A maximum commutes with a scale only if that is positive.
    folds = block not in POOLED or bool((scale > 0).all())
    if folds:
        weight = weight * scale[:, None, None, None]
        bias = (bias - mean) * scale + shift
    if int8:
        found = _convolution(quantised(x.node, x.low, x.high), quantised_weights(weight), padding=1)
    else:
        # An array alone would go through a Python list of its numbers.
        found = _convolution(x.node, ops.constant(weight.astype(np.float32)), padding=1)
    found = ops.add(found, _per_channel(bias))
    if block in POOLED:
        found = ops.max_pool(found, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    if not folds:
        found = ops.multiply(found, _per_channel(scale))
        found = ops.add(found, _per_channel(shift - mean * scale))
    return Features(ops.relu(found), 0.0, highest_after_norm(gain, shift))


def _residual(x: Features, tensors: Tensors, name: str, int8: bool) -> Features:
    inner = x
    for block in CONV_BLOCKS:
        if block.startswith(f"{name}."):
            inner = _conv_block(inner, tensors, block, int8)
    # Both come out of a ReLU.
    return Features(ops.add(x.node, inner.node), 0.0, x.high + inner.high)


def _convolution(x: Any, weight: Any, *, padding: int) -> Any:
    pads = [padding, padding]
    return ops.convolution(x, weight, [1, 1], pads, pads, [1, 1])


def _per_channel(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(1, -1, 1, 1)
