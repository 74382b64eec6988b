"""Muon for convolution filters, SGD with Nesterov momentum for everything else, as one optimiser.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by
the nearest semi-orthogonal one, found with a few Newton-Schulz steps. torch.optim.Muon takes
2-D parameters alone; filters (C_out, C_in, 3, 3) are seen here as matrices (C_out, C_in * 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from cifar_model.native_bf16 import has_native_bf16

# Of the quintic iteration in the source above: steep at zero, so that few steps are enough.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3


def orthogonalise(matrix: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """The matrix with its singular values moved near 1 (within about 0.3).

    It is computed in bfloat16 where the device has that, else in float32: emulated, the products
    of one filter of this network took 15 s on two cores that need 0.4 s in float32.

    matrix: (m, n) of any float type; zero stays zero.
    """
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if has_native_bf16(matrix.device.type) else matrix.float()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


class MuonWithSGD(torch.optim.Optimizer):
    """Groups with `muon=True` hold filters; the others are trained by SGD with Nesterov momentum.

    Filters are kept at one unit of norm an output channel, so `lr` is the relative size of a step.
    Batch norm after each convolution makes the network indifferent to that norm.
    Each group has: params, lr, momentum, weight_decay (SGD groups only), muon.
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {"weight_decay": 0.0, "muon": False})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"].mul_(momentum).add_(gradient)
        direction = gradient.add(buffer, alpha=momentum)
        if group["muon"]:
            parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
            flat = direction.reshape(len(direction), -1)
            direction = orthogonalise(flat).view_as(direction).to(parameter.dtype)
        parameter.add_(direction, alpha=-lr)
