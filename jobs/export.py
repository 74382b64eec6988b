"""From a run's last checkpoint to its model folder, and from there to a smaller one to ship.

python -m jobs.export --model runs/first/model --out pets --name pets
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cifar_model.data_record import DataRecord
from cifar_model.dataset import TrainingData
from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import clear_asides_of
from cifar_model.given_path import given_path
from cifar_model.history import HISTORY, METRICS, mend_history
from cifar_model.run_plan import RunPlan
from jobs.run_folder import MODEL, check_name


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.export",
        description="Copy a model folder with its weights in half precision. Test metrics are left "
        "behind: jobs.evaluate measures them again. The last line printed is the new folder.",
    )
    parser.add_argument("--model", required=True, help="model folder to copy")
    parser.add_argument("--out", required=True, help="model folder to write")
    parser.add_argument("--name", help="of the copy (default: the model's own)")
    parser.add_argument("--note", help="for the card: what a user of the model should know")
    options = parser.parse_args(arguments)
    with one_line_errors("jobs.export"):
        model, out = given_path(options.model), given_path(options.out)
        print(shrink(model, out, options.name, options.note))


def shrink(model: Path, out: Path, name: str | None = None, note: str | None = None) -> Path:
    """Write a copy of a model folder in half precision; returns it."""
    from cifar_model.model_folder import export_model, load_model

    if name is not None:
        check_name(name)
    clear_asides_of(out)
    if out.exists():
        raise InputError(f"{out} exists; choose another --out")
    network, config = load_model(model)
    if not (model / HISTORY).is_file():
        raise InputError(
            f"--model {model}: there is no {HISTORY} in it; expected a run's model folder"
        )
    metrics = {key: v for key, v in config.metrics.items() if not key.startswith("test_")}
    config = replace(config, name=name or config.name, note=note or config.note, metrics=metrics)
    export_model(out, network, config, (model / HISTORY).read_bytes(), half=True)
    return out


def export_run(
    folder: Path,
    plan: RunPlan,
    class_names: tuple[str, ...],
    data: TrainingData,
    record: DataRecord,
    checkpoint: Path,
    say: Callable[[str], None],
) -> Path:
    """Write FOLDER/model, named for the run, with the metrics that history.csv has of it.

    say: told which epochs history.csv lacks.
    """
    from cifar_model.model_config import ModelConfig
    from cifar_model.model_folder import export_model
    from cifar_model.training import network_from_checkpoint

    records = mend_history(folder / HISTORY, plan.recipe.epochs, say)
    metrics: dict[str, float] = {}
    if len(records) == plan.recipe.epochs:
        metrics["train_seconds"] = sum(record.seconds for record in records)
    if records and records[-1].epoch == plan.recipe.epochs - 1:
        for name in METRICS:
            metrics[name] = getattr(records[-1], name)
    config = ModelConfig(
        name=folder.name,
        class_names=class_names,
        image_size=data.image_size,
        normalisation=data.normalisation,
        recipe=plan.recipe,
        seed=plan.seed,
        data=record,
        metrics=metrics,
    )
    history = (folder / HISTORY).read_bytes()
    export_model(folder / MODEL, network_from_checkpoint(plan, checkpoint), config, history)
    return folder / MODEL


if __name__ == "__main__":
    main()
