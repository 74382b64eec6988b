"""Which images make up each batch, and the batches themselves, as pure functions of epoch and step.

The shuffled training set is cut into global batches; each worker takes every world-size-th image
of each. So every image is seen exactly once an epoch by any number of workers, all workers take the
same number of steps, and a resumed run sees what an undisturbed one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from cifar_model.dataset import LabelledImages
from cifar_model.errors import InputError


class Batch(NamedTuple):
    """One worker's share of one global batch."""

    images: Tensor  # uint8 (B, S, S, 3), or float32 (B, 3, S, S) already augmented
    labels_B: Tensor  # int64
    indices_B: Tensor  # int64, in the data set
    global_indices_G: Tensor  # int64, of the whole global batch
    epoch: int
    step: int
    rank: int
    world_size: int


@dataclass(frozen=True)
class BatchPlan:
    """How `count` images are dealt out to `world_size` workers, `batch_size` a step in all."""

    count: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    shuffle_seed: int | None = None  # None: in order, every epoch alike

    def __post_init__(self) -> None:
        if min(self.count, self.batch_size // 2) < self.world_size:
            raise InputError(
                f"{self.count} images in batches of {self.batch_size} can't be shared by "
                f"{self.world_size} workers: each needs two images a batch"
            )

    @property
    def steps(self) -> int:
        """Optimiser steps an epoch; a rest under half a batch joins the last full one.

        A last batch of a few images would make a step as large as any from hardly any evidence.
        """
        full, rest = divmod(self.count, self.batch_size)
        return max(1, full + (2 * rest >= self.batch_size))

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The epoch's order of all images."""
        if self.shuffle_seed is None:
            return np.arange(self.count)
        return np.random.default_rng([self.shuffle_seed, epoch]).permutation(self.count)

    def global_batch(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Indices of the whole batch of a step, over all workers."""
        stop = self.count if step == self.steps - 1 else (step + 1) * self.batch_size
        return self.order(epoch)[step * self.batch_size : stop]


@dataclass
class EpochSteps(Sampler[tuple[int, int]]):
    """The (epoch, step) keys of one epoch. Lightning calls `set_epoch` before each."""

    steps: int
    epoch: int = field(default=0, init=False)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration is of."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.epoch, step) for step in range(self.steps))

    def __len__(self) -> int:
        return self.steps


class BatchDataset(Dataset[Batch]):
    """Batches by (epoch, step); `transform`, if given, augments image by image on the CPU.

    transform: called as `transform(seed)` once a batch, gives a function from one uint8 image
        (S, S, 3) to a float32 tensor (3, S, S).
    """

    def __init__(
        self,
        data: LabelledImages,
        plan: BatchPlan,
        transform: Callable[[int], Callable[[NDArray[np.uint8]], Tensor]] | None = None,
    ) -> None:
        self.data, self.plan, self.transform = data, plan, transform

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, step = key
        plan = self.plan
        everyone = plan.global_batch(epoch, step)
        mine = everyone[plan.rank :: plan.world_size]
        pictures = self.data.images[mine]
        if self.transform is None:
            images = torch.from_numpy(pictures)
        else:
            one = self.transform(derive_seed(plan.shuffle_seed or 0, epoch, step, plan.rank))
            images = torch.stack([one(picture) for picture in pictures])
        return Batch(
            images,
            torch.from_numpy(self.data.labels[mine]),
            torch.from_numpy(mine),
            torch.from_numpy(everyone),
            epoch,
            step,
            plan.rank,
            plan.world_size,
        )


def derive_seed(*parts: int) -> int:
    """One 32-bit seed from several whole numbers, well mixed."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
