"""Faults in a search: it, a trial's worker and a trial's own process are killed; it ends whole."""

import csv
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cifar_model.checkpoints import CHECKPOINT, local_checkpoints
from cifar_model.history import read_history
from cifar_model.recipe import load_recipe
from tests.faults.processes import kill
from tests.faults.training.fault_commands import epochs_in, fill, report
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
DATA = ["--data", "digits", "--train-limit", "300", "--image-size", "16"]
DATA += ["--precision", "32-true", "--cpus-per-worker", "1"]
EPOCHS = 7
KINDS = {"worker": "ray::RayTrainWorker", "own process": "ray::ImplicitFunc"}


def reported(search):
    """The lines of its trials.csv."""
    with (search / "report" / "trials.csv").open() as file:
        return list(csv.DictReader(file))


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

    rows = reported(tmp_path / "s")
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


def test_a_search_interrupted_and_killed_goes_on_with_its_trials_and_runs_none_twice(
    start, nodes, tmp_path
):
    what = ["--recipe", "digits", "--trials", 3, "--epochs", 3, "--lr", "0.1", "--concurrent", 2]
    where = ["--storage", tmp_path, "--name", "s"]
    trials = tmp_path / "s" / "trials"
    command = start("jobs.tune", *DATA, *what, *where)
    command.wait_for(lambda: len(list(trials.glob("*"))) == 2)
    interrupted, begun = time.monotonic(), {trial.name for trial in trials.iterdir()}
    command.process.send_signal(signal.SIGINT)
    last = command.end(130).splitlines()[-1]
    seconds = f"{time.monotonic() - interrupted:.1f}"
    assert last.startswith("jobs.tune: interrupted; to go on: python -m jobs.tune --resume")
    assert not (tmp_path / "s" / "report").exists()
    until(lambda: not nodes.workers(), 60)
    report("search interrupted", seconds_to_end=seconds)

    command = start(*shlex.split(last.partition("python -m ")[2]))
    command.wait_for(lambda: 3 in map(epochs_in, trials.iterdir()))
    command.kill()
    until(lambda: not nodes.workers(), 60)
    done = max(trials.iterdir(), key=epochs_in) / "history.csv"
    written, had = done.stat().st_mtime_ns, sum(map(epochs_in, trials.iterdir()))
    resumed = time.monotonic()
    command = start("jobs.tune", "--resume", *where)
    command.wait_for(lambda: sum(map(epochs_in, trials.iterdir())) > had)
    report("search killed", seconds_to_next_epoch=f"{time.monotonic() - resumed:.1f}")
    command.end()

    rows = reported(tmp_path / "s")
    assert len(rows) == 3 and "failed" not in {row["status"] for row in rows}
    assert begun < {row["trial"] for row in rows} == {trial.name for trial in trials.iterdir()}
    assert done.stat().st_mtime_ns == written
    for trial in trials.iterdir():
        epochs = [record.epoch for record in read_history(trial / "history.csv")]
        assert epochs == list(range(len(epochs)))


def test_a_full_disk_leaves_the_search_unfinished_and_its_trial_goes_on(start, nodes, full_soon):
    what = ["--recipe", "digits", "--trials", "1", "--epochs", EPOCHS, "--lr", "0.1"]
    where = ["--storage", full_soon, "--name", "s"]
    command = start("jobs.tune", *DATA, *what, *where)
    trials = full_soon / "s" / "trials"
    first = command.wait_for(
        lambda: next(trials.glob(f"*/checkpoint_epoch0000/{CHECKPOINT}"), None)
    )
    # The next checkpoint can be begun, and not ended.
    ballast = fill(full_soon, leave=first.stat().st_size // 4)
    full = time.monotonic()
    last = command.end(2).splitlines()[-1]
    seconds = f"{time.monotonic() - full:.1f}"
    assert "No space left on device" in last and "--resume" in last
    assert not (full_soon / "s" / "report").exists()
    [trial] = trials.iterdir()
    done, kept = epochs_in(trial), local_checkpoints(trial)[0]
    ballast.unlink()
    until(lambda: not nodes.workers(), 60)
    start("jobs.tune", "--resume", *where).end()
    assert [path.name for path in trials.iterdir()] == [trial.name]
    assert [record.epoch for record in read_history(trial / "history.csv")] == list(range(EPOCHS))
    assert [row["status"] for row in reported(full_soon / "s")] == ["ended"]
    repeated = done - int(kept.removeprefix("checkpoint_epoch")) - 1
    report("disk full in a search", seconds_to_give_up=seconds, epochs_repeated=repeated)
    assert repeated <= 1


def test_a_search_that_loses_an_interruption_ends_all_the_same_and_goes_on(tmp_path):
    """Once by Ctrl-C and once by SIGTERM; Ray is the command's own, as it is a user's."""
    what = ["--recipe", "digits", "--trials", "1", "--epochs", "1", "--lr", "0.1"]
    where = ["--storage", str(tmp_path), "--name", "s"]

    def command(*words):
        root = Path(__file__).parents[3]
        return subprocess.run(
            [sys.executable, "-m", *words], cwd=root, capture_output=True, text=True, timeout=200
        )

    seconds = []
    for name, words in (("SIGINT", [*DATA, *what]), ("SIGTERM", ["--resume"])):
        began = time.monotonic()
        ended = command("tests.faults.training.deaf_search", name, *words, *where)
        assert "Exception ignored in: <function Deaf.__del__" in ended.stderr, "it was not lost"
        seconds.append(f"{time.monotonic() - began:.0f}")
        assert ended.returncode == 130, ended.stdout
        last = ended.stderr.splitlines()[-1]
        assert last.startswith("jobs.tune: interrupted; to go on: python -m jobs.tune --resume")
        assert not (tmp_path / "s" / "report").exists()
    ended = command("jobs.tune", "--resume", *where)
    assert ended.returncode == 0, ended.stderr
    [trial] = reported(tmp_path / "s")
    assert (trial["status"], trial["epochs"]) == ("ended", "1")
    assert [folder.name for folder in (tmp_path / "s" / "trials").iterdir()] == [trial["trial"]]
    report("search that loses Ctrl-C, then SIGTERM", seconds_of_each=seconds)
