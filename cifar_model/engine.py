"""The forward pass, prepared once: framed pictures -> logits and the last layer's class maps.

Shape letters: B pictures, S their side, K classes, h and w the last feature map (S/8 each).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.model_config import ModelConfig

# auto: gpu where there is one, else OpenVINO. int8: OpenVINO, its convolutions in 8 bits: faster
# and not as exact. torch: PyTorch as it is, in float32, on either.
EngineName = Literal["auto", "gpu", "openvino", "int8", "torch"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
Squares = Sequence[Picture] | NDArray[np.uint8]  # B pictures (S, S, 3)


class Forward(NamedTuple):
    """What one forward pass gives."""

    logits_BK: NDArray[np.float32]
    # The last feature maps weighted by the linear layer's row of each class: all the evidence for
    # every class, place by place.
    class_maps_BKhw: NDArray[np.float32]


class Engine(Protocol):
    """A network ready to run; may be called from many threads."""

    def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """Run the network on framed pictures."""


def load_engine(
    folder: Path, config: ModelConfig, name: EngineName = "auto", *, threads: int | None = None
) -> Engine:
    """The network of a model folder; InputError if it can't be used.

    threads: CPU threads of a forward pass; None for the engine's own default, all cores.
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r}: expected one of {', '.join(ENGINES)}")
    if name == "torch":
        from cifar_model.torch_engine import TorchEngine

        return TorchEngine.load(folder, threads=threads)
    if name == "gpu" and not gpu_count():
        raise InputError("engine gpu: PyTorch can use no NVIDIA GPU here; take auto or openvino")
    if name == "gpu" or (name == "auto" and gpu_count()):
        from cifar_model.gpu_engine import GpuEngine

        return GpuEngine.load(folder)
    from cifar_model.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(folder, config, threads=threads, int8=name == "int8")


def gpu_count() -> int:
    """How many NVIDIA GPUs PyTorch can use; it is imported only where there may be one."""
    if not any(Path("/dev").glob("nvidia[0-9]*")):
        return 0
    import torch

    # The count alone would be of those whose driver is too old as well.
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
