"""What decides the outcome of a run besides its data and, without `sync_norms`, how many workers
share it: cheap to import, so that a driver can send it to workers before anything has imported
PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from cifar_model.errors import InputError
from cifar_model.recipe import Recipe

Precision = Literal["auto", "32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
SEEDS = range(2**32)  # what NumPy and Lightning take


@dataclass(frozen=True)
class RunPlan:
    """How to train, by however many workers."""

    recipe: Recipe
    num_classes: int
    seed: int = 0
    precision: Precision = "auto"  # auto: bf16 where the hardware multiplies it natively
    compile: bool = False  # torch.compile; see RESULTS.md for what it takes and saves
    tuned_memory: bool = True  # channels last, freed memory kept; False is for comparisons
    sync_norms: bool = False  # batch norm over all workers' images, not each worker's own


@dataclass(frozen=True)
class Sweep:
    """The learning rates of a range test: `steps` of them, each the same factor over the last."""

    min_lr: float = 1e-5
    max_lr: float = 10.0
    steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.min_lr < self.max_lr < math.inf:
            raise InputError(
                f"learning rates from {self.min_lr:g} to {self.max_lr:g}: expected positive ones, "
                "the first under the last"
            )
        if self.steps < 30:
            raise InputError(f"{self.steps} steps: expected 30 or more, to see a curve")

    def lr(self, step: int) -> float:
        """The rate of a step, from 0."""
        return float(self.min_lr * (self.max_lr / self.min_lr) ** (step / (self.steps - 1)))


def validation_batch_size(recipe: Recipe) -> int:
    """Images a validation step, over all workers: no more than a training step has room for."""
    return min(1024, recipe.batch_size)


def check_seed(seed: int) -> None:
    """InputError for a --seed that some random generator wouldn't take."""
    if seed not in SEEDS:
        raise InputError(f"--seed {seed}: expected {SEEDS[0]} to {SEEDS[-1]}")
