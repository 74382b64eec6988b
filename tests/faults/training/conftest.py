"""A cluster of three nodes, a run that nothing happens to, and one whose driver was killed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT, Command, called, descendants, epochs_in, kill, parents, until

# 270 images in 4 steps an epoch.
DATA = ["--data", "digits", "--recipe", "digits", "--train-limit", "300", "--precision", "32-true"]
EPOCHS = 5
TWO_WORKERS = ["--workers", "2", "--cpus-per-worker", "1"]


def train(storage, *more):
    """The words of a command that trains run "run" below `storage` on two workers."""
    what = [*DATA, "--epochs", EPOCHS, *TWO_WORKERS, "--storage", storage, "--name", "run"]
    return ["jobs.train", *what, *more]


class Nodes:
    """The cluster of nodes.py."""

    def __init__(self, process):
        self.process, self.address = process, process.stdout.readline().strip()
        assert self.address, "the cluster did not start"

    def have(self, count):
        """Bring it to so many nodes."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "ready"

    def titled(self, title):
        """Its processes whose title begins so."""
        return called(descendants(self.process.pid), title)

    def workers(self):
        """Its processes that train."""
        return self.titled("ray::RayTrainWorker")

    def kill_one(self):
        """kill -9 of a node with a training worker, not the head: its raylet and all its children.

        Returns how many processes that were.
        """
        tree = parents()
        head = min(tree[pid] for pid in self.titled("ray::TrainController"))
        raylet = next(tree[worker] for worker in self.workers() if tree[worker] != head)
        node = [raylet, *descendants(raylet)]
        for pid in node:
            kill(pid)
        return len(node)


@pytest.fixture(scope="session")
def cluster():
    """Its environment has nothing of the Ray that other tests use."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = {**plain, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("nodes.py")], cwd=ROOT, env=environment,
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Nodes(process)
            process.stdin.close()
            process.wait(60)
        finally:
            for pid in [process.pid, *descendants(process.pid)]:
                kill(pid)


@pytest.fixture
def nodes(cluster):
    """Three nodes, whatever the test before has done, and nothing running on them."""
    cluster.have(3)
    until(lambda: not cluster.workers(), 60)
    return cluster


@pytest.fixture
def start(tmp_path, cluster):
    """Start a command on the cluster; it does not outlive the test."""
    commands = []

    def start(*words, **how):
        how = {"RAY_ADDRESS": cluster.address, **how}
        commands.append(Command(tmp_path / f"log{len(commands)}.txt", *words, **how))
        return commands[-1]

    yield start
    for command in commands:
        command.clean_up()


@pytest.fixture(scope="session")
def reference(tmp_path_factory, cluster):
    """The run that the others are compared with: two workers, undisturbed."""
    cluster.have(3)
    storage = tmp_path_factory.mktemp("reference")
    command = Command(storage / "log.txt", *train(storage), RAY_ADDRESS=cluster.address)
    try:
        command.end()
    finally:
        command.clean_up()
    return storage / "run"


@pytest.fixture(scope="session")
def killed(tmp_path_factory, cluster):
    """The storage of a run whose driver was killed, and how many epochs it had on record."""
    cluster.have(3)
    storage = tmp_path_factory.mktemp("killed")
    command = Command(storage / "log.txt", *train(storage), RAY_ADDRESS=cluster.address)
    try:
        command.wait_for(lambda: epochs_in(storage / "run") == 3)
        command.kill()
        until(lambda: not cluster.workers(), 60)
    finally:
        command.clean_up()
    return storage, epochs_in(storage / "run")


@pytest.fixture
def killed_run(killed, tmp_path):
    """A copy of that run's storage, to do something to."""
    return shutil.copytree(killed[0], tmp_path / "storage")
