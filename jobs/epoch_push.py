"""The Lightning callback that sends a run's files to its URI after each epoch."""

from __future__ import annotations

from pathlib import Path

import pytorch_lightning as pl

from jobs.storage import push


class PushEachEpoch(pl.Callback):
    """Rank 0's working copy goes up after the epoch's record was written."""

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder, self.uri = folder, uri

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send what the run has so far."""
        if trainer.is_global_zero:
            push(self.folder, self.uri)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Send the last lines of the loggers too."""
        if trainer.is_global_zero:
            push(self.folder, self.uri)
