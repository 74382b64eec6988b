"""From a run's last checkpoint to its model folder."""

from __future__ import annotations

from pathlib import Path

from cifar_model.data_record import DataRecord
from cifar_model.dataset import TrainingData
from cifar_model.run_plan import RunPlan
from jobs.run_folder import MODEL


def export_run(
    folder: Path,
    plan: RunPlan,
    class_names: tuple[str, ...],
    data: TrainingData,
    record: DataRecord,
    checkpoint: Path,
) -> Path:
    """Write FOLDER/model, named for the run, with the metrics of its last epoch."""
    from cifar_model.history import read_history
    from cifar_model.model_config import ModelConfig
    from cifar_model.model_folder import HISTORY, export_model
    from cifar_model.training import network_from_checkpoint

    last = read_history(folder / HISTORY)[-1]
    config = ModelConfig(
        name=folder.name,
        class_names=class_names,
        image_size=data.image_size,
        normalisation=data.normalisation,
        recipe=plan.recipe,
        seed=plan.seed,
        data=record,
        metrics={
            name: getattr(last, name)
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
        },
    )
    history = (folder / HISTORY).read_bytes()
    export_model(folder / MODEL, network_from_checkpoint(plan, checkpoint), config, history)
    return folder / MODEL
