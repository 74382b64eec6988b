"""A cluster to harm, a run that nothing happens to, and one whose driver was killed."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.faults.namespaces import TOKEN
from tests.faults.processes import called, descendants, kill, parents
from tests.faults.training.fault_commands import ROOT, Command, epochs_in, train
from tests.small_disk import small_disk
from tests.waiting import until


class Nodes:
    """The cluster of nodes.py."""

    def __init__(self, process):
        self.process, self.address = process, process.stdout.readline().partition(" ")[0]
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
        """kill -9 of a node with a training worker: its raylet and all that it has started. Not of
        the one that the command itself is on, which dies with its node.

        Returns how many processes that were.
        """
        tree = parents()
        drivers = {tree[pid] for pid in self.titled("ray::TrainController")}
        raylet = next(tree[pid] for pid in self.workers() if tree[pid] not in drivers)
        node = [raylet, *descendants(raylet)]
        for pid in node:
            kill(pid)
        return len(node)


@pytest.fixture(scope="session")
def cluster():
    """In an environment that has nothing of the Ray that other tests use."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = {**plain, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **TOKEN}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.nodes", "1"], cwd=ROOT, env=environment,
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
        how = {"RAY_ADDRESS": cluster.address, **TOKEN, **how}
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
    command = Command(storage / "log.txt", *train(storage), RAY_ADDRESS=cluster.address, **TOKEN)
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
    command = Command(storage / "log.txt", *train(storage), RAY_ADDRESS=cluster.address, **TOKEN)
    try:
        second = storage / "run" / "checkpoint_epoch0001" / "checkpoint.ckpt"
        command.wait_for(second.exists)
        command.kill()
        until(lambda: not cluster.workers(), 60)
    finally:
        command.clean_up()
    return storage, epochs_in(storage / "run")


@pytest.fixture
def killed_run(killed, tmp_path):
    """A copy of that run's storage, to do something to."""
    return shutil.copytree(killed[0], tmp_path / "storage")


@pytest.fixture
def full_soon(tmp_path):
    """A disk of 300 MiB."""
    with small_disk(tmp_path / "disk", "300m") as place:
        yield place
