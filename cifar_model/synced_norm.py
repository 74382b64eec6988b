"""Batch norm over the whole global batch, whatever the number of workers, on CPU and GPU.

PyTorch's own SyncBatchNorm does it on GPUs alone. Each layer adds one all-reduce of 2C + 1 numbers
to the forward pass and one to the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d whose mean and variance in training are those of all workers' images together."""

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps (B, C, H, W) -> the same shape, normalised by channel."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(maps_BCHW)
        # Autocast or not, sums over a batch are made in float32.
        with torch.autocast(maps_BCHW.device.type, enabled=False):
            maps = maps_BCHW.float()
            # Filled in on the device: a GPU would be waited for to take it over.
            count = maps.new_full((1,), maps.numel() / maps.shape[1])
            mean = maps.mean((0, 2, 3))
            square = maps.square().mean((0, 2, 3))
            total = _SumOverWorkers.apply(torch.cat([mean * count, square * count, count]))
            everyone = total[-1]
            mean, square = (total[:-1] / everyone).chunk(2)
            variance = (square - mean.square()).clamp_min(0)  # rounding may leave less
            with torch.no_grad():
                assert self.running_mean is not None and self.running_var is not None
                assert self.num_batches_tracked is not None and self.momentum is not None
                self.num_batches_tracked.add_(1)
                unbiased = variance * everyone / (everyone - 1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(unbiased, self.momentum)
            scale = self.weight * torch.rsqrt(variance + self.eps)
            shift = self.bias - mean * scale
            normalised = maps * scale[:, None, None] + shift[:, None, None]
            return normalised.to(maps_BCHW.dtype)


class _SumOverWorkers(torch.autograd.Function):
    """The sum of all workers' tensors; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def sync_norms(network: nn.Module) -> None:
    """Replace every BatchNorm2d of a network by a synced one with the same parameters, in place."""
    for name, module in network.named_children():
        if type(module) is nn.BatchNorm2d:
            synced = SyncedBatchNorm2d(module.num_features, module.eps, module.momentum)
            synced.load_state_dict(module.state_dict())
            for key in ("weight", "bias"):
                getattr(synced, key).requires_grad_(getattr(module, key).requires_grad)
            setattr(network, name, synced)
        else:
            sync_norms(module)
