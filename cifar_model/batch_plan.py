"""Which images make up each batch, as pure functions of epoch and step; no PyTorch.

The shuffled training set is cut into global batches; each worker takes every world-size-th image
of each. So every image is seen exactly once an epoch by any number of workers, all workers take the
same number of steps, and a resumed run sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError


def check_share(count: int, batch_size: int, workers: int, what: str = "images") -> None:
    """InputError if so many images in such batches are too few for so many workers."""
    if min(count, batch_size // 2) < workers:
        raise InputError(
            f"{count} {what} in batches of {batch_size} can't be shared by {workers} workers: "
            "each needs two images a batch; use fewer --workers or more images"
        )


@dataclass(frozen=True)
class BatchPlan:
    """How `count` images are dealt out to `world_size` workers, `batch_size` a step in all."""

    count: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    shuffle_seed: int | None = None  # None: in order, every epoch alike

    def __post_init__(self) -> None:
        check_share(self.count, self.batch_size, self.world_size)

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch; a rest under half a batch joins the last full one.

        A last batch of a few images would make a step as large as any from hardly any evidence.
        """
        full, rest = divmod(self.count, self.batch_size)
        return max(1, full + (2 * rest >= self.batch_size))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The epoch's order of all images."""
        return _order(self.count, self.shuffle_seed, epoch)

    def global_batch(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Indices of the whole batch of a step, over all workers."""
        stop = self.count if step == self.steps - 1 else (step + 1) * self.batch_size
        return self.order(epoch)[step * self.batch_size : stop].copy()

    def share(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Indices of this worker's part of the batch of a step."""
        return self.global_batch(epoch, step)[self.rank :: self.world_size]


@lru_cache(maxsize=2)  # an epoch's, and the validation set's: each step asks for it
def _order(count: int, shuffle_seed: int | None, epoch: int) -> NDArray[np.int64]:
    if shuffle_seed is None:
        order = np.arange(count)
    else:
        order = np.random.default_rng([shuffle_seed, epoch]).permutation(count)
    order.flags.writeable = False
    return order


def derive_seed(*parts: int) -> int:
    """One 32-bit seed from several whole numbers, well mixed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
