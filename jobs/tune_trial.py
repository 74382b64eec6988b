"""One trial of a search: a Ray Train run of the very worker that jobs.train uses."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifar_model.errors import InputError
from cifar_model.files import write_whole
from cifar_model.history import HISTORY, METRICS, EpochRecord, readable_history
from cifar_model.recipe import Recipe
from cifar_model.run_plan import Precision, RunPlan
from jobs.ray_training import WorkerTask, fit_workers
from jobs.run_folder import DIVERGED
from jobs.search_space import recipe_of
from jobs.worker_layout import WorkerLayout

FAILED = "failed.txt"  # in a trial's folder: why this command is not to try it again
REPORTED = ("epoch", *METRICS)  # what a worker tells Tune of an epoch


@dataclass(frozen=True)
class TrialPlan:
    """What all trials of a search have in common."""

    base: Recipe  # its epochs are the budget of a trial
    num_classes: int
    seed: int
    precision: Precision
    folder: Path  # of the trials' runs, reachable from every worker
    workers: int
    cpus: int  # cores of each worker
    gpus: float


def run_trial(values: Mapping[str, Any], *, plan: TrialPlan, data: list[Any]) -> None:
    """Tune's trainable: train with these values, from the trial's last checkpoint on.

    Tune calls it again when the process that it runs in was killed.

    data: holds an ObjectRef of a TrainingData: bare, Tune would fetch it here.
    """
    from ray import tune
    from ray.tune.integration.ray_train import TuneReportCallback

    folder = plan.folder / tune.get_context().get_trial_id()
    if (folder / FAILED).exists():
        raise InputError((folder / FAILED).read_text(encoding="utf-8"))
    trained = readable_history(folder / HISTORY)
    if trained and trained[-1].epoch + 1 == plan.base.epochs:
        # Killed between its last epoch and the search's taking note of it.
        tune.report(metrics_of(trained[-1]))
        return
    folder.mkdir(parents=True, exist_ok=True)
    run = RunPlan(recipe_of(plan.base, values), plan.num_classes, plan.seed, plan.precision)
    task = WorkerTask(run, data[0], folder, plan.cpus, time.time())
    try:
        fit_workers(task, WorkerLayout(plan.workers), plan.gpus, [TuneReportCallback()])
    except InputError as error:
        # It has had its attempts, or would diverge again.
        write_whole(folder / FAILED, str(error).encode())
        raise


def has_diverged(folder: Path) -> bool:
    """Whether the trial in this folder would fail again with the same values."""
    return (folder / DIVERGED).exists()


def forget_failures(trials: Path) -> None:
    """Let a resumed search try again what failed for another reason, such as a full disk."""
    for note in trials.glob(f"*/{FAILED}"):
        if not has_diverged(note.parent):
            note.unlink()


def epochs_of(folder: Path, reported: Mapping[str, Any]) -> list[EpochRecord]:
    """A trial's epochs; the last is what it reported, where `history.csv` has lost that.

    reported: the last metrics that Tune was told of, empty before the first.
    """
    records = readable_history(folder / HISTORY)
    if reported.get("epoch", -1) > (records[-1].epoch if records else -1):
        metrics = {name: reported[name] for name in REPORTED}
        seconds = float(reported["time_this_iter_s"])
        records.append(
            EpochRecord(**metrics, lr=math.nan, images_per_second=math.nan, seconds=seconds)
        )
    return records


def metrics_of(record: EpochRecord) -> dict[str, float]:
    """What a worker reports of an epoch."""
    return {name: getattr(record, name) for name in REPORTED}
