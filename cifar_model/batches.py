"""The batches that a worker's steps are made of, by epoch and step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from cifar_model.batch_plan import BatchPlan, derive_seed
from cifar_model.dataset import Pictures


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


@dataclass
class EpochSteps(Sampler[tuple[int, int]]):
    """The (epoch, step) keys of one epoch. Lightning calls `set_epoch` before each."""

    steps: int
    epoch: int = 0

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
        data: Pictures,
        plan: BatchPlan,
        transform: Callable[[int], Callable[[NDArray[np.uint8]], Tensor]] | None = None,
    ) -> None:
        self.data, self.plan, self.transform = data, plan, transform

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, step = key
        plan = self.plan
        everyone, mine = plan.global_batch(epoch, step), plan.share(epoch, step)
        pictures = self.data.share(plan, epoch, step)
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
