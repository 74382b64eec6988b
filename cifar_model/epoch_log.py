"""The Lightning callback that prints one line an epoch and records it in `history.csv`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from cifar_model.history import EpochRecord, read_history, write_history


class EpochLog(pl.Callback):
    """Prints and records each epoch; on a resumed run it keeps the epochs before the checkpoint.

    command_started: `time.time()` when the user started the run, to say what start-up took.
    """

    def __init__(self, path: Path, *, command_started: float | None = None) -> None:
        self.path = path
        self.command_started = command_started
        self.epoch_started = 0.0
        self.lr = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that the first step is about to run, and drop records that are about to be redone."""
        if trainer.is_global_zero:
            kept = [r for r in read_history(self.path) if r.epoch < trainer.current_epoch]
            write_history(self.path, kept)
            print(
                f"Training epochs {trainer.current_epoch} to {(trainer.max_epochs or 0) - 1}, "
                f"{trainer.num_training_batches} steps each, {trainer.world_size} worker(s), "
                f"{trainer.precision}",
                flush=True,
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the epoch's clock."""
        self.epoch_started = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Note the learning rate that this step uses: at the epoch's end it is the next one's."""
        self.lr = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, _: int
    ) -> None:
        """After the very first step, say how long start-up took."""
        if self.command_started is not None and trainer.is_global_zero:
            waited = time.time() - self.command_started
            print(f"First step done {waited:.1f} s after the command started", flush=True)
        self.command_started = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Print and record the epoch."""
        if not trainer.is_global_zero:
            return
        names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        metrics = {name: float(trainer.callback_metrics[name]) for name in names}
        record = EpochRecord(
            epoch=trainer.current_epoch,
            **metrics,
            lr=self.lr,
            seconds=time.perf_counter() - self.epoch_started,
        )
        write_history(self.path, [*read_history(self.path), record])
        print(
            f"Epoch {record.epoch}: "
            f"train loss {record.train_loss:.4f}, train accuracy {record.train_accuracy:.4f}, "
            f"val loss {record.val_loss:.4f}, val accuracy {record.val_accuracy:.4f}, "
            f"lr {record.lr:.2e}, {record.seconds:.1f} s",
            flush=True,
        )
