"""A training run in this process, without Ray."""

from __future__ import annotations

from pathlib import Path

from cifar_model.dataset import TrainingData
from cifar_model.run_plan import RunPlan
from jobs.run_folder import IN_PROCESS_CHECKPOINTS, latest_checkpoint
from jobs.stages import Stages


def fit_in_process(
    plan: RunPlan, data: TrainingData, folder: Path, threads: int, stages: Stages
) -> Path:
    """Train, from the run's last checkpoint on if it has one; returns its last checkpoint."""
    stages.say("Importing PyTorch and Lightning")
    from pytorch_lightning.callbacks import ModelCheckpoint

    from cifar_model.training import Placement, build_trainer, fit, quiet_lightning

    quiet_lightning()
    checkpoints = folder / IN_PROCESS_CHECKPOINTS
    latest = latest_checkpoint(checkpoints)
    keep = ModelCheckpoint(checkpoints, filename="{epoch:04d}", save_on_train_epoch_end=True)
    placement = Placement(callbacks=[keep], command_started=stages.started)
    trainer = build_trainer(plan, folder, placement)
    fit(plan, data, trainer, threads=threads, checkpoint=latest)
    last = latest_checkpoint(checkpoints)
    assert last is not None
    return last
