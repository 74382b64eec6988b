"""The forward pass in OpenVINO, built from a model folder's tensors without PyTorch.

OpenVINO picks the precision that the CPU computes natively: bfloat16 where it has it, else float32.
Batch norm is folded into the convolutions where that is exact. What it brings over PyTorch is
measured by `python -m jobs.bench engines`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from cifar_model.engine import Forward
from cifar_model.model_config import ModelConfig
from cifar_model.weights import CONV_BLOCKS, POOLED, norm_prefix, read_weights

NORM_EPSILON = 1e-5  # PyTorch's default, which the network uses
Tensors = dict[str, NDArray[Any]]


class OpenVinoEngine:
    """See `engine.Engine`."""

    def __init__(self, folder: Path, config: ModelConfig, *, threads: int | None = None) -> None:
        tensors = read_weights(folder, len(config.class_names))
        # Latency: one batch at a time on all threads; the batches are gathered elsewhere.
        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        self._compiled = openvino.Core().compile_model(build(tensors, config), "CPU", options)

    def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """See `engine.Engine`."""
        # A request of its own for each call, so that threads never share a buffer.
        found = self._compiled.create_infer_request().infer([squares_BSS3])
        logits, class_maps = (found[output] for output in self._compiled.outputs)
        return Forward(logits, class_maps)


def build(tensors: Tensors, config: ModelConfig) -> openvino.Model:
    """The graph of `resnet9.ResNet9`: squares (B, S, S, 3) uint8 -> logits and class maps."""
    size = config.image_size
    mean = np.array(config.normalisation.mean, np.float32) * 255
    std = np.array(config.normalisation.std, np.float32) * 255
    squares = ops.parameter([-1, size, size, 3], np.uint8, name="squares")
    x = ops.divide(ops.subtract(ops.convert(squares, "f32"), mean), std)
    x = ops.transpose(x, np.array([0, 3, 1, 2]))
    x = _conv_block(_conv_block(x, tensors, "prep"), tensors, "layer1")
    x = _residual(x, tensors, "res1")
    x = _conv_block(_conv_block(x, tensors, "layer2"), tensors, "layer3")
    maps = _residual(x, tensors, "res2")

    weights = (tensors["linear.weight"] * config.recipe.logit_scale).astype(np.float32)
    bias = (tensors["linear.bias"] * config.recipe.logit_scale).astype(np.float32)
    pooled = ops.reduce_max(maps, np.array([2, 3]))
    logits = ops.add(ops.matmul(pooled, weights, False, True), bias)
    class_maps = _convolution(maps, weights[:, :, None, None], padding=0)
    return openvino.Model([logits, class_maps], [squares], "resnet9")


def _conv_block(x: Any, tensors: Tensors, block: str) -> Any:
    """Convolution -> (max-pool) -> batch norm -> ReLU, as in `resnet9.conv_block`."""
    norm = norm_prefix(block)
    gain, shift, mean, variance = (
        tensors[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + NORM_EPSILON)
    weight, bias = tensors[f"{block}.0.weight"], tensors[f"{block}.0.bias"]
    # A maximum commutes with a scale only if that is positive.
    folds = block not in POOLED or bool((scale > 0).all())
    if folds:
        weight = weight * scale[:, None, None, None]
        bias = (bias - mean) * scale + shift
    x = ops.add(_convolution(x, weight, padding=1), _per_channel(bias))
    if block in POOLED:
        x = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2]).output(0)
    if not folds:
        x = ops.add(ops.multiply(x, _per_channel(scale)), _per_channel(shift - mean * scale))
    return ops.relu(x)


def _residual(x: Any, tensors: Tensors, name: str) -> Any:
    inner = x
    for block in CONV_BLOCKS:
        if block.startswith(f"{name}."):
            inner = _conv_block(inner, tensors, block)
    return ops.add(x, inner)


def _convolution(x: Any, weight: NDArray[Any], *, padding: int) -> Any:
    pads = [padding, padding]
    return ops.convolution(x, weight.astype(np.float32), [1, 1], pads, pads, [1, 1])


def _per_channel(values: NDArray[Any]) -> NDArray[np.float32]:
    return values.astype(np.float32).reshape(1, -1, 1, 1)
