"""The mean of a loss over images."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class MeanLoss(Metric):
    """If any loss is NaN or infinite, so is the mean: divergence shows.

    Not torchmetrics' MeanMetric: it looks for such losses at each update, for which a GPU has to
    end what it has in hand, and by default leaves them out.
    """

    total: Tensor
    images: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("images", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, mean: Tensor, images: int) -> None:
        """Take in the mean over so many images."""
        self.total += mean.detach() * images
        self.images += images

    def compute(self) -> Tensor:
        """The mean over all images."""
        return self.total / self.images
