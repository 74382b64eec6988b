"""Checkpoints of a run on Ray Train: written and reported after each epoch, and found again.

Which is the newest is read from the storage. Ray Train's own record of it is behind by up to two
epochs, is written in place, and knows nothing of broken files.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytorch_lightning as pl
import ray.train
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.collective import broadcast_from_rank_zero

from cifar_model.checkpoints import (
    CHECKPOINT,
    folder_name,
    local_checkpoints,
    newest_whole,
    prune,
)
from jobs import storage


class ReportEachEpoch(pl.Callback):
    """Each epoch's metrics and checkpoint, to the storage and to Ray Train.

    run: its folder, of which this is a copy if `uri` is given.
    """

    def __init__(self, run: Path, uri: str | None) -> None:
        self.run, self.uri = run, uri

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save, report, and remove the checkpoints that are no longer needed."""
        name = folder_name(trainer.current_epoch)
        metrics = {key: value.item() for key, value in trainer.callback_metrics.items()}
        metrics |= {"epoch": trainer.current_epoch, "step": trainer.global_step}
        if self.uri is None:
            # In its place at once: Ray Train would copy it there, in sight of all.
            trainer.save_checkpoint(self.run / name / CHECKPOINT)
            self._report(trainer, metrics, self.run / name, CheckpointUploadMode.NO_UPLOAD)
            if trainer.is_global_zero:
                prune(self.run)
            return
        with tempfile.TemporaryDirectory(prefix="checkpoint-") as aside:
            trainer.save_checkpoint(Path(aside) / CHECKPOINT)
            self._report(trainer, metrics, Path(aside), CheckpointUploadMode.SYNC)
        if trainer.is_global_zero:
            storage.prune(self.uri)

    def _report(
        self,
        trainer: pl.Trainer,
        metrics: dict[str, float],
        folder: Path,
        mode: CheckpointUploadMode,
    ) -> None:
        # All workers have the same; one checkpoint is enough.
        ray.train.report(
            metrics,
            Checkpoint.from_directory(folder) if trainer.is_global_zero else None,
            checkpoint_dir_name=folder_name(trainer.current_epoch),
            checkpoint_upload_mode=mode,
        )


def checkpoint_to_go_on_from(run: Path, uri: str | None, aside: Path) -> Path | None:
    """The file of the newest whole checkpoint, the same one on all workers; None at the beginning.

    aside: folder for a copy, if the checkpoints are at a URI.
    """

    def fetch(name: str) -> Path:
        if uri is None:
            return run / name / CHECKPOINT
        return storage.fetch_checkpoint(uri, name, aside)

    name = file = None
    if ray.train.get_context().get_world_rank() == 0:
        names = local_checkpoints(run) if uri is None else storage.checkpoints(uri)
        found = newest_whole(names, fetch, lambda line: print(line, flush=True))
        if found:
            epoch, file = found
            name = folder_name(epoch)
    name = broadcast_from_rank_zero(name)
    if name is None:
        return None
    return file or fetch(name)
