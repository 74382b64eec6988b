"""Faults in a search: a trial's worker and a trial's own process are killed, and it ends whole."""

import csv
import json
import time

import pytest
from commands import called, descendants, epochs_in, kill, report, training_workers

from cifar_model.history import read_history
from cifar_model.recipe import load_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
DATA = ["--data", "digits", "--train-limit", "400", "--precision", "32-true"]
DATA += ["--cpus-per-worker", "1"]
EPOCHS = 6
KINDS = {"worker": "ray::RayTrainWorker", "process": "ray::ImplicitFunc"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_goes_on_when_it_is_killed(start, tmp_path, kind):
    """The trial is the recipe itself, so it must end as that recipe trained alone."""
    search = ["--recipe", "digits", "--trials", "1", "--epochs", EPOCHS, "--lr", "0.1"]
    command = start("jobs.tune", *DATA, *search, "--storage", tmp_path, "--name", "s")
    trials = tmp_path / "s" / "trials"
    command.wait_for(lambda: any(epochs_in(trial) == 2 for trial in trials.glob("*")))
    [trial] = trials.iterdir()
    [victim] = called(descendants(command.process.pid), KINDS[kind])
    workers = training_workers(command.process.pid)
    kill(victim)
    killed, done = time.monotonic(), epochs_in(trial)
    command.wait_for(lambda: set(training_workers(command.process.pid)) - set(workers))
    command.wait_for(lambda: epochs_in(trial) > done)
    seconds = time.monotonic() - killed
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
    report(f"a trial's {kind} killed", difference=f"metrics {apart:.1e}",
           seconds_until_its_next_epoch=f"{seconds:.1f}")  # fmt: skip
    assert apart < 1e-3
