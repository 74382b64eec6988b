"""The forward pass on an NVIDIA GPU: bfloat16, batch norm folded, replayed from CUDA graphs.

A pass over this network is dozens of small kernels, which a GPU runs faster than Python can start
them; a graph starts them all at once. Each graph has one batch size: a batch takes the next larger
one, and what is larger than all is cut.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cifar_model.engine import Forward
from cifar_model.model_folder import load_model
from cifar_model.native_bf16 import has_native_bf16
from cifar_model.normalisation import Normalisation, mean_and_scale
from cifar_model.resnet9 import ResNet9
from cifar_model.weights import CONV_BLOCKS, POOLED, norm_prefix

BATCHES = (1, 2, 4, 8, 16, 32)
WARM_UPS = 3  # passes before a recording, in which cuDNN and cuBLAS choose their kernels


class Recorded(NamedTuple):
    """The graph of one batch size, and the memory on the GPU that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    squares_BSS3: Tensor
    logits_BK: Tensor
    class_maps_BKhw: Tensor


class GpuEngine:
    """See `engine.Engine`."""

    def __init__(self, network: ResNet9, normalisation: Normalisation, image_size: int) -> None:
        # Older GPUs would emulate bfloat16.
        self._dtype = torch.bfloat16 if has_native_bf16("cuda") else torch.float32
        folded = fold_norms(network).to(memory_format=torch.channels_last)
        self._network = folded.to(device="cuda", dtype=self._dtype)
        self._network.linear.float()  # it costs nothing, and rounding shows most in the logits
        self._pixels = [part.cuda() for part in mean_and_scale(normalisation)]
        self._one_at_a_time = threading.Lock()
        with torch.inference_mode():
            self._recorded = [self._record(count, image_size) for count in BATCHES]

    @classmethod
    def load(cls, folder: Path) -> GpuEngine:
        """The network of a model folder."""
        network, config = load_model(folder)
        return cls(network, config.normalisation, config.image_size)

    def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """See `engine.Engine`."""
        most = BATCHES[-1]
        starts = range(0, len(squares_BSS3), most)
        parts = [self._replay(squares_BSS3[start : start + most]) for start in starts]
        return Forward(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _replay(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        count = len(squares_BSS3)
        recorded = next(r for r in self._recorded if len(r.squares_BSS3) >= count)
        # The rows beyond `count` are an earlier batch's: no row looks at another.
        with self._one_at_a_time, torch.inference_mode():
            recorded.squares_BSS3[:count].copy_(torch.from_numpy(squares_BSS3))
            recorded.graph.replay()
            logits, class_maps = recorded.logits_BK[:count], recorded.class_maps_BKhw[:count]
            return Forward(logits.cpu().numpy(), class_maps.cpu().numpy())

    def _record(self, count: int, size: int) -> Recorded:
        squares = torch.zeros((count, size, size, 3), dtype=torch.uint8, device="cuda")
        for _ in range(WARM_UPS):
            self._forward(squares)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            logits, class_maps = self._forward(squares)
        return Recorded(graph, squares, logits, class_maps)

    def _forward(self, squares_BSS3: Tensor) -> tuple[Tensor, Tensor]:
        mean, scale = self._pixels
        images_BCHW = ((squares_BSS3 - mean) * scale).permute(0, 3, 1, 2).to(self._dtype)
        maps_BCHW = self._network.features(images_BCHW).float()
        return self._network.head(maps_BCHW), self._network.class_maps(maps_BCHW)


def fold_norms(network: ResNet9) -> ResNet9:
    """A copy for evaluation, its batch norms made part of the convolutions where that is exact."""
    folded = copy.deepcopy(network).eval()
    for name in CONV_BLOCKS:
        convolution = folded.get_submodule(f"{name}.0")
        norm = folded.get_submodule(norm_prefix(name))
        assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
        # A maximum commutes with a scale only if that is positive.
        if name not in POOLED or bool((norm.weight > 0).all()):
            folded.set_submodule(f"{name}.0", fuse_conv_bn_eval(convolution, norm))
            folded.set_submodule(norm_prefix(name), nn.Identity())
    return folded
