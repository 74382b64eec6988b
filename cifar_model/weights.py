"""The tensors of a model folder's model.safetensors, checked against the network; needs no PyTorch.

Shape letters: K classes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_model.errors import InputError
from cifar_model.model_config import ModelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS = "model.safetensors"
# Name of each conv block in the network -> channels in, channels out.
CONV_BLOCKS = {
    "prep": (3, 64),
    "layer1": (64, 128),
    "res1.block.0": (128, 128),
    "res1.block.1": (128, 128),
    "layer2": (128, 256),
    "layer3": (256, 512),
    "res2.block.0": (512, 512),
    "res2.block.1": (512, 512),
}
# Blocks with a max-pool between convolution and batch norm, so that the norm has place 2 in them.
POOLED = ("layer1", "layer2", "layer3")
NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")  # gain, shift, mean, variance


def norm_prefix(block: str) -> str:
    """Name of a conv block's batch norm."""
    return f"{block}.{2 if block in POOLED else 1}"


def tensor_shapes(num_classes: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of `resnet9.ResNet9`'s state."""
    shapes: dict[str, tuple[int, ...]] = {}
    for block, (before, after) in CONV_BLOCKS.items():
        shapes[f"{block}.0.weight"] = (after, before, 3, 3)
        shapes[f"{block}.0.bias"] = (after,)
        for tensor in NORM_TENSORS:
            shapes[f"{norm_prefix(block)}.{tensor}"] = (after,)
        shapes[f"{norm_prefix(block)}.num_batches_tracked"] = ()
    return {**shapes, "linear.weight": (num_classes, 512), "linear.bias": (num_classes,)}


def digest_of_weights(content: bytes) -> str:
    """What config.json says of model.safetensors: SHA-256, for the format has no checksum."""
    return hashlib.sha256(content).hexdigest()


def read_weights(folder: Path, config: ModelConfig) -> dict[str, NDArray[Any]]:
    """Name -> tensor; those stored in half precision come back as float32.

    Raises InputError, one line, when the file is missing, damaged or not the config's.
    """
    import numpy as np

    # Reads a header of JSON and plain numbers; nothing in it can run.
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"model {folder}: no {WEIGHTS}")
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise InputError(f"model {folder}: {WEIGHTS} is damaged: {error}") from error
    expected = tensor_shapes(len(config.class_names))
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted({name for name, _ in expected.items() ^ found.items()})[0]
        raise InputError(
            f"model {folder}: {WEIGHTS} does not fit config.json: {wrong} is "
            f"{found.get(wrong, 'missing')}, expected {expected.get(wrong, 'no such tensor')}"
        )
    if config.weights_sha256 and digest_of_weights(content) != config.weights_sha256:
        raise InputError(
            f"model {folder}: {WEIGHTS} is not the one that was exported: its SHA-256 is not that "
            "in config.json; copy or export the model again"
        )
    return {
        name: tensor.astype(np.float32) if tensor.dtype == np.float16 else tensor
        for name, tensor in tensors.items()
    }
