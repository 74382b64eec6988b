"""A command of this project as a user runs it, and ways to do it harm."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from cifar_model.history import read_history
from cifar_model.predictor import Predictor
from cifar_model.sources import load_digits
from tests.faults.processes import descendants, kill

ROOT = Path(__file__).parents[3]
# 270 small images in 4 steps an epoch.
DATA = ["--data", "digits", "--recipe", "digits", "--train-limit", "300", "--image-size", "16"]
DATA += ["--precision", "32-true"]
EPOCHS = 5
TWO_WORKERS = ["--workers", "2", "--cpus-per-worker", "1"]


def train(storage, *more):
    """The words of a command that trains run "run" below `storage` on two workers."""
    what = [*DATA, "--epochs", EPOCHS, *TWO_WORKERS, "--storage", storage, "--name", "run"]
    return ["jobs.train", *what, *more]


class Command:
    """`python -m jobs.WHAT`, running in a session of its own; what it prints goes to a file.

    within: words before it, such as those that enter a network namespace.
    """

    def __init__(self, log, *words, within=(), **environment):
        self.log = Path(log)
        # The suite's own Ray is on 127.0.0.1 alone; the commands here join others.
        there = {k: v for k, v in os.environ.items() if "WINDOWS_OR_OSX" not in k}
        with self.log.open("w") as file:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", *map(str, words)],
                cwd=ROOT,
                env={**there, **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def text(self):
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(self, what, seconds=300, poll=0.02):
        """Wait until `what()` is true while the command runs; returns that."""
        deadline = time.monotonic() + seconds
        while not (found := what()):
            assert self.process.poll() is None, f"the command ended early:\n{self.text()}"
            assert time.monotonic() < deadline, f"waited {seconds} s in vain:\n{self.text()}"
            time.sleep(poll)
        return found

    def end(self, code=0, seconds=400):
        """Wait until it has ended, with this exit status; returns what it printed."""
        self.process.wait(seconds)
        assert self.process.returncode == code, self.text()
        return self.text()

    def kill(self):
        """Kill its first process alone, as the kernel does when memory runs out."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def clean_up(self):
        """Kill it, and what it has started, if it still runs."""
        if self.process.poll() is None:
            for pid in [self.process.pid, *descendants(self.process.pid)]:
                kill(pid)
            self.process.wait()

    def starts(self):
        """First epochs of each attempt to train that it has made."""
        return [int(n) for n in re.findall(r"Training epochs (\d+) to", self.text())]

    def epochs(self):
        """The epochs that it has said to have done, in order, repetitions included."""
        return [int(n) for n in re.findall(r"Epoch (\d+): train loss", self.text())]


def epochs_in(run):
    """How many epochs a run has on record."""
    return len(read_history(run / "history.csv"))


def fill(disk, leave):
    """Fill a disk up to so many free bytes; returns the file that does it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(disk).free - leave) > 0:
            file.write(bytes(min(1 << 20, free)))
    return ballast


@dataclass(frozen=True)
class Difference:
    """How far a run's result is from another's: the largest difference in any epoch, any weight."""

    loss: float
    accuracy: float
    weight: float

    def __str__(self):
        parts = (self.loss, self.accuracy, self.weight)
        return (
            "none at all"
            if not any(parts)
            else "loss {:.1e}, accuracy {:.1e}, weight {:.1e}".format(*parts)
        )


SAME = Difference(0.0, 0.0, 0.0)


def difference(run, reference):
    """Compare two ended runs; every epoch must be on record once in both."""
    tables = {}
    for folder in (run, reference):
        records = read_history(folder / "history.csv")
        assert [record.epoch for record in records] == list(range(len(records)))
        tables[folder] = [
            np.array([[r.train_loss, r.val_loss] for r in records]),
            np.array([[r.train_accuracy, r.val_accuracy] for r in records]),
        ]
    loss, accuracy = (
        float(np.abs(mine - other).max())
        for mine, other in zip(tables[run], tables[reference], strict=True)
    )
    mine, other = (load_file(folder / "model" / "model.safetensors") for folder in (run, reference))
    assert mine.keys() == other.keys()
    apart = (np.abs(mine[key].astype(float) - other[key].astype(float)).max() for key in mine)
    return Difference(loss, accuracy, float(max(apart)))


def classed_alike(run, reference):
    """The share of all 1,797 digits that the models of two ended runs put into the same class."""
    digits = load_digits(16)
    images = np.concatenate([digits.train.images, digits.test.images])
    mine, other = (
        Predictor.load(folder / "model", engine="torch").engine(images).logits_BK.argmax(axis=1)
        for folder in (run, reference)
    )
    return float((mine == other).mean())


def report(case, **figures):
    """Print a case's figures, one line, for RELIABILITY.md."""
    shown = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items())
    print(f"\n[faults] {case}: {shown}", flush=True)
