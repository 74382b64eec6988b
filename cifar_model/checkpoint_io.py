"""Lightning's half of the checkpoints: files that appear whole, one after each epoch."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from cifar_model.checkpoints import CHECKPOINT, folder_name, prune, seal
from cifar_model.files import write_whole


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it.

    Lightning's own writes below the temporary folder, leaves that file behind when it is killed,
    and copies it to its place where that is another file system, in sight of all.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """OSError if there is no room for it; then nothing is left of it."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        seal(buffer)
        write_whole(Path(path), buffer.getbuffer())


class CheckpointEachEpoch(pl.Callback):
    """Saves into the run's folder and keeps the newest few."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, then remove what is no longer needed."""
        trainer.save_checkpoint(self.run / folder_name(trainer.current_epoch) / CHECKPOINT)
        if trainer.is_global_zero:
            prune(self.run)
