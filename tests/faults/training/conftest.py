"""Runs that nothing happens to, to compare with."""

import json
import shutil

import pytest
from commands import Command, epochs_in

from cifar_model.recipe import load_recipe

# 540 images in 8 steps an epoch: long enough to be killed in the middle of one.
DATA = ["--data", "digits", "--recipe", "digits", "--train-limit", "600", "--precision", "32-true"]
EPOCHS = 4
TWO_WORKERS = ["--workers", "2", "--cpus-per-worker", "1"]


@pytest.fixture
def start(tmp_path):
    """Start a command; whatever still runs of it at the end of the test is killed."""
    commands = []

    def start(*words, **how):
        commands.append(Command(tmp_path / f"log{len(commands)}.txt", *words, **how))
        return commands[-1]

    yield start
    for command in commands:
        command.clean_up()


def train(storage, *more):
    """The words of a command that trains run "run" below `storage` on two workers."""
    what = [*DATA, "--epochs", EPOCHS, *TWO_WORKERS, "--storage", storage, "--name", "run"]
    return ["jobs.train", *what, *more]


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The run that the others are compared with: two workers, undisturbed."""
    storage = tmp_path_factory.mktemp("reference")
    command = Command(storage / "log.txt", *train(storage))
    try:
        command.end()
    finally:
        command.clean_up()
    return storage / "run"


@pytest.fixture(scope="session")
def killed(tmp_path_factory):
    """The storage of a run whose driver was killed in its third epoch, and the killed command."""
    storage = tmp_path_factory.mktemp("killed")
    command = Command(storage / "log.txt", *train(storage))
    try:
        command.wait_for(
            lambda: (storage / "run" / "checkpoint_epoch0001" / "checkpoint.ckpt").exists()
        )
        command.wait_for(lambda: epochs_in(storage / "run") == 2)
        command.kill()
    finally:
        command.clean_up()
    return storage, command


@pytest.fixture
def killed_run(killed, tmp_path):
    """A copy of that run's storage, to do something to."""
    return shutil.copytree(killed[0], tmp_path / "storage")


@pytest.fixture
def slow_recipe(tmp_path):
    """The recipe for digits at a rate so low that rounding doesn't grow into another run."""
    recipe = {**load_recipe("digits").to_json(), "peak_lr": 0.002}
    path = tmp_path / "slow.json"
    path.write_text(json.dumps(recipe))
    return path
