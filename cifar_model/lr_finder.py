"""The learning-rate range test (Smith, arXiv:1506.01186): one sweep of rates over a fresh network.

Not Lightning's Tuner.lr_find, which falls short here: it gives every parameter group the same rate,
though a recipe's groups may differ (Muon's filters and biases); each of several workers would go by
its own loss; and it names the steepest point of any curve, usable or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng

from cifar_model.batches import Batch
from cifar_model.data import ImageDataModule
from cifar_model.dataset import TrainingData
from cifar_model.lit_classifier import LitClassifier
from cifar_model.loader_processes import loader_processes
from cifar_model.run_plan import RunPlan, Sweep
from cifar_model.training import Placement, build_network, ready_process, trainer_options

# Not the steepest point: a loss that starts above chance falls fastest before anything is learned.
# Not the minimum: along a flat bottom, noise decides where it lies.
MADE = 0.95
RULE = f"the smallest rate at which the smoothed loss has made {MADE:.0%} of its fall"
SMOOTHING = 5  # steps on either side that a smoothed value averages over
DIVERGED = 1.25  # times the first loss, at which the sweep stops
LEAST_FALL = 0.1  # share of the first loss by which a usable curve falls


@dataclass(frozen=True)
class RangeTest:
    """What a sweep saw: the training loss, label smoothing included, at each rate."""

    lrs: tuple[float, ...]
    losses: tuple[float, ...]  # nats, each the mean over a global batch

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """The losses, each averaged with its neighbours."""
        if not self.losses:  # the first was no number
            return np.empty(0)
        width = 2 * SMOOTHING + 1
        padded = np.pad(np.asarray(self.losses), SMOOTHING, mode="edge")
        return np.convolve(padded, np.ones(width) / width, mode="valid")

    @property
    def problem(self) -> str | None:
        """Why the curve suggests no rate; None if it does."""
        if len(self.losses) <= 4 * SMOOTHING:
            return (
                f"the loss diverged after {len(self.losses)} steps, before it had fallen; "
                "start at a smaller rate"
            )
        smoothed = self.smoothed
        first, lowest = smoothed[SMOOTHING], int(smoothed.argmin())
        if smoothed[lowest] > (1 - LEAST_FALL) * first:
            return (
                f"the loss fell from {first:.3f} to {smoothed[lowest]:.3f} only, which is no "
                "usable minimum; sweep other rates, or more steps"
            )
        if lowest >= len(smoothed) - 1 - SMOOTHING:
            return (
                f"the loss still falls at the last rate, {self.lrs[-1]:.3g}, so there is no "
                "minimum; sweep up to a larger rate"
            )
        return None

    @property
    def suggestion(self) -> float | None:
        """The learning rate by `RULE`; None where there is a `problem`."""
        if self.problem:
            return None
        smoothed = self.smoothed
        first, lowest = smoothed[SMOOTHING], smoothed.min()
        return self.lrs[int(np.argmax(smoothed <= first - MADE * (first - lowest)))]

    def to_json(self) -> dict[str, Any]:
        """The content of lr_find.json, less what was swept."""
        rows = zip(self.lrs, self.losses, self.smoothed.tolist(), strict=True)
        return {
            "suggestion": self.suggestion,
            "problem": self.problem,
            "rule": RULE,
            "points": [
                {"lr": lr, "loss": loss, "smoothed_loss": smooth} for lr, loss, smooth in rows
            ],
        }


def range_test(
    plan: RunPlan,
    data: TrainingData,
    sweep: Sweep,
    placement: Placement | None = None,
    *,
    threads: int | None = None,
    prepare: Callable[[pl.Trainer], pl.Trainer] = lambda trainer: trainer,
) -> RangeTest:
    """Train a fresh network of the plan at exponentially growing rates until its loss diverges.

    Every worker returns the same result. Random states are left as found. All steps see images at
    the resolution of the recipe's first epoch: a change of it midway would show in the loss.

    prepare: what Ray Train wants done to the trainer.
    """
    ready_process(plan, threads)
    small = float(plan.recipe.small_epochs > 0)
    # No more epochs than steps.
    recipe = replace(plan.recipe, epochs=sweep.steps, low_resolution_share=small)
    with isolate_rng():
        pl.seed_everything(plan.seed, verbose=False)
        network = build_network(plan)
        module = LitClassifier(network, recipe, seed=plan.seed, steps=sweep.steps)
        swept = _Sweeping(sweep, recipe.peak_lr)
        options = trainer_options(plan, placement or Placement())
        options["callbacks"].append(swept)
        trainer = pl.Trainer(
            **options,
            max_epochs=-1,
            max_steps=sweep.steps,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
        )
        loaders = loader_processes(data, recipe)
        batches = ImageDataModule(data, recipe, seed=plan.seed, loaders=loaders)
        prepare(trainer).fit(module, batches)
    return RangeTest(tuple(swept.lrs), tuple(swept.losses))


class _Sweeping(pl.Callback):
    """Sets the rate of each step and notes the loss, over all workers."""

    def __init__(self, sweep: Sweep, peak_lr: float) -> None:
        self.sweep, self.peak_lr = sweep, peak_lr
        self.lrs: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Set every group's rate, in the proportion that the recipe gives them."""
        self.lrs.append(self.sweep.lr(len(self.lrs)))
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.lrs[-1] * group["max_lr"] / self.peak_lr

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Note the loss before the step, and stop all workers together once it has diverged."""
        loss = float(trainer.strategy.reduce(outputs["loss"].detach(), reduce_op="mean"))
        if not math.isfinite(loss):
            self.lrs.pop()
            trainer.should_stop = True
            return
        self.losses.append(loss)
        first, recent = np.mean(self.losses[:SMOOTHING]), np.mean(self.losses[-SMOOTHING:])
        trainer.should_stop = bool(recent > DIVERGED * first)
