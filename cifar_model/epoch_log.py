"""The Lightning callback that prints a line an epoch and records it in `history.csv`."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from cifar_model.errors import TrainingDiverged
from cifar_model.files import write_whole
from cifar_model.history import METRICS, STARTUP, EpochRecord, mend_history, write_history


class EpochLog(pl.Callback):
    """Prints and records each epoch; on a resumed run it keeps the epochs before the checkpoint.

    command_started: `time.time()` when the user started the run; then what start-up took is
        printed and written to `startup.json` beside `history.csv`, unless an attempt before this
        one has done so.
    """

    def __init__(self, path: Path, *, command_started: float | None = None) -> None:
        self.path = path
        self.command_started = command_started
        self.records: list[EpochRecord] = []
        self.lr = 0.0
        self.images = 0
        self.steps_began = self.steps_ended = self.epoch_began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the first step is about to run, and drop records that are about to be redone."""
        self.epoch_began = time.perf_counter()
        if trainer.is_global_zero:
            self.records = mend_history(self.path, trainer.current_epoch, _say)
            _say(
                f"Training epochs {trainer.current_epoch} to {(trainer.max_epochs or 0) - 1}, "
                f"{trainer.num_training_batches} steps each, {trainer.world_size} worker(s), "
                f"{trainer.precision}"
            )

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate that this step uses: at the epoch's end it is the next one's."""
        self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])
        if batch_idx == 0:
            self.images, self.steps_began = 0, time.perf_counter()
        self.images += len(batch.global_indices_G)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """Note the time; after the very first step, say how long start-up took."""
        timed = trainer.is_last_batch or self.command_started is not None
        if timed and torch.cuda.is_available():
            torch.cuda.synchronize()  # else the steps would only have been handed over
        self.steps_ended = time.perf_counter()
        if self.command_started is not None and trainer.is_global_zero:
            startup = self.path.with_name(STARTUP)
            if not startup.exists():
                waited = time.time() - self.command_started
                _say(f"First step done {waited:.1f} s after the command started")
                write_whole(startup, json.dumps({"seconds": waited}).encode())
        self.command_started = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print and record the epoch; on all workers `TrainingDiverged` for a loss not finite."""
        for name in ("train_loss", "val_loss"):  # the last step shows in the second alone
            if not math.isfinite(loss := float(trainer.callback_metrics[name])):
                raise TrainingDiverged(
                    f"training diverged: the loss was {loss} in epoch {trainer.current_epoch}; "
                    "lower the learning rate (python -m jobs.lr_find suggests one)"
                )
        if not trainer.is_global_zero:
            return
        now = time.perf_counter()
        metrics = {name: float(trainer.callback_metrics[name]) for name in METRICS}
        record = EpochRecord(
            epoch=trainer.current_epoch,
            **metrics,
            lr=self.lr,
            images_per_second=self.images / (self.steps_ended - self.steps_began),
            seconds=now - self.epoch_began,
        )
        self.epoch_began = now
        self.records.append(record)
        write_history(self.path, self.records)
        _say(
            f"Epoch {record.epoch}: "
            f"train loss {record.train_loss:.4f}, train accuracy {record.train_accuracy:.4f}, "
            f"val loss {record.val_loss:.4f}, val accuracy {record.val_accuracy:.4f}, "
            f"lr {record.lr:.2e}, {record.images_per_second:.0f} images/s, {record.seconds:.1f} s"
        )


def _say(line: str) -> None:
    print(line, flush=True)
