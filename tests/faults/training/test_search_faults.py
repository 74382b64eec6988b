"""Faults in a search: a trial's worker and a trial's own process are killed, and it ends whole."""

import csv
import json
import time

import pytest
from fault_commands import epochs_in, kill, report

from cifar_model.history import read_history
from cifar_model.recipe import load_recipe

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
DATA = ["--data", "digits", "--train-limit", "300", "--image-size", "16"]
DATA += ["--precision", "32-true", "--cpus-per-worker", "1"]
EPOCHS = 7
KINDS = {"worker": "ray::RayTrainWorker", "own process": "ray::ImplicitFunc"}


def test_a_trial_goes_on_when_its_worker_or_its_own_process_is_killed(start, nodes, tmp_path):
    """The trial is the recipe itself, so it must end as that recipe trained alone."""
    search = ["--recipe", "digits", "--trials", "1", "--epochs", EPOCHS, "--lr", "0.1"]
    command = start("jobs.tune", *DATA, *search, "--storage", tmp_path, "--name", "s")
    trials = tmp_path / "s" / "trials"
    command.wait_for(lambda: any(epochs_in(trial) for trial in trials.glob("*")))
    [trial] = trials.iterdir()
    for (kind, title), epochs in zip(KINDS.items(), (2, 4), strict=True):
        command.wait_for(lambda epochs=epochs: epochs_in(trial) >= epochs)
        [victim] = nodes.titled(title)
        kill(victim)
        killed, done = time.monotonic(), epochs_in(trial)
        command.wait_for(lambda done=done: epochs_in(trial) > done)
        report(f"trial's {kind} killed", seconds_to_next_epoch=f"{time.monotonic() - killed:.1f}")
    command.end()

    rows = list(csv.DictReader((tmp_path / "s" / "report" / "trials.csv").open()))
    assert [(row["trial"], row["status"]) for row in rows] == [(trial.name, "ended")]
    recipe = {**load_recipe("digits").to_json(), "epochs": EPOCHS}
    (tmp_path / "alone.json").write_text(json.dumps(recipe))
    alone = ["--workers", "0", "--recipe", tmp_path / "alone.json", "--storage", tmp_path]
    start("jobs.train", *DATA, *alone, "--name", "alone").end()
    records, others = (read_history(f / "history.csv") for f in (trial, tmp_path / "alone"))
    assert [record.epoch for record in records] == list(range(EPOCHS))
    apart = max(
        abs(getattr(one, name) - getattr(other, name))
        for one, other in zip(records, others, strict=True)
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    )
    report("trial killed twice", difference=f"metrics {apart:.1e}")
    assert apart < 1e-3
