"""Muon for convolution filters, SGD with Nesterov momentum for everything else, as one optimiser.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) replaces the momentum of a matrix by
the nearest semi-orthogonal one, found with a few Newton-Schulz steps. torch.optim.Muon takes
2-D parameters alone; filters (C_out, C_in, 3, 3) are seen here as matrices (C_out, C_in * 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import Tensor

from cifar_model.native_bf16 import has_native_bf16

# Of the quintic iteration in the source above: steep at zero, so that few steps are enough.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 3


def orthogonalise(matrices_GMN: Tensor) -> Tensor:
    """Each of G matrices (M, N) with its singular values moved towards 1.

    Those above a fiftieth of the matrix's norm come to 0.7 to 1.2, smaller ones grow up to
    forty-fold.

    It is computed in bfloat16 where the device has that, else in float32: emulated, the products
    of one filter of this network took 15 s on two cores that need 0.4 s in float32.

    matrices_GMN: of any float type; zero stays zero.
    """
    a, b, c = COEFFICIENTS
    native = has_native_bf16(matrices_GMN.device.type)
    x = matrices_GMN.bfloat16() if native else matrices_GMN.float()
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


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
            if parameters := [p for p in group["params"] if p.grad is not None]:
                self._update(parameters, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        # A list in one call: a GPU is done with a small tensor before the next call reaches it.
        momentum, lr, decay = group["momentum"], group["lr"], group["weight_decay"]
        gradients = [cast(Tensor, p.grad) for p in parameters]
        if decay:
            gradients = list(torch._foreach_add(gradients, parameters, alpha=decay))
        buffers = [self._buffer(p) for p in parameters]
        torch._foreach_mul_(buffers, momentum)
        torch._foreach_add_(buffers, gradients)
        directions = list(torch._foreach_add(gradients, buffers, alpha=momentum))
        if group["muon"]:
            torch._foreach_div_(parameters, torch._foreach_norm(parameters))
            torch._foreach_mul_(parameters, [len(p) ** 0.5 for p in parameters])
            directions = orthogonal_filters(directions)
        torch._foreach_add_(parameters, directions, alpha=-lr)

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        return cast(Tensor, state["momentum_buffer"])


def orthogonal_filters(filters: list[Tensor]) -> list[Tensor]:
    """Each filter orthogonalised as a matrix, those of one shape in one batch."""
    found = list(filters)
    for shape in {f.shape for f in filters}:
        places = [place for place, f in enumerate(filters) if f.shape == shape]
        matrices = orthogonalise(torch.stack([filters[place].flatten(1) for place in places]))
        for place, matrix in zip(places, matrices, strict=True):
            found[place] = matrix.reshape(shape).to(filters[place].dtype)
    return found
