"""A training run in this process, without Ray."""

from __future__ import annotations

from pathlib import Path

from cifar_model.checkpoints import newest_whole_here
from cifar_model.dataset import TrainingData
from cifar_model.history import STARTUP
from cifar_model.run_plan import RunPlan
from jobs.stages import Stages


def fit_in_process(
    plan: RunPlan, data: TrainingData, folder: Path, threads: int, stages: Stages
) -> None:
    """Train, from the run's last whole checkpoint on if it has one."""
    latest = newest_whole_here(folder, stages.say)
    (folder / STARTUP).unlink(missing_ok=True)  # of the command before
    stages.say("Importing PyTorch and Lightning")
    from cifar_model.checkpoint_io import CheckpointEachEpoch
    from cifar_model.training import Placement, build_trainer, fit, quiet_lightning

    quiet_lightning()
    keep = CheckpointEachEpoch(folder)
    placement = Placement(callbacks=[keep], command_started=stages.started)
    trainer = build_trainer(plan, folder, placement)
    fit(plan, data, trainer, threads=threads, checkpoint=latest[1] if latest else None)
