"""The forward pass in PyTorch as it is, in float32: the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cifar_model.engine import Forward
from cifar_model.model_folder import load_model
from cifar_model.normalisation import Normalisation, normalise
from cifar_model.resnet9 import ResNet9


class TorchEngine:
    """See `engine.Engine`."""

    def __init__(self, network: ResNet9, normalisation: Normalisation) -> None:
        # For the whole process: cuDNN would round to 10 bits of mantissa otherwise.
        torch.backends.cudnn.allow_tf32 = False
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)
        self.normalisation = normalisation

    @classmethod
    def load(cls, folder: Path, *, threads: int | None = None) -> TorchEngine:
        """The network of a model folder; `threads` is set for the whole process."""
        if threads is not None:
            torch.set_num_threads(threads)
        network, config = load_model(folder)
        return cls(network, config.normalisation)

    def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """See `engine.Engine`."""
        with torch.inference_mode():
            maps_BCHW = self.network.features(self.normalised(squares_BSS3))
            logits_BK = self.network.head(maps_BCHW)
            class_maps_BKHW = self.network.class_maps(maps_BCHW)
        return Forward(logits_BK.cpu().numpy(), class_maps_BKHW.cpu().numpy())

    def normalised(self, squares_BSS3: NDArray[np.uint8]) -> torch.Tensor:
        """The pictures (B, 3, S, S) as the network takes them."""
        return normalise(torch.from_numpy(squares_BSS3).to(self.device), self.normalisation)
