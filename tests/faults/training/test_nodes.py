"""A whole node of three dies under a run, which goes on; an elastic run takes a new one up."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import (
    ROOT,
    called,
    descendants,
    difference,
    epochs_in,
    kill,
    parents,
    report,
    training_workers,
)
from conftest import DATA, TWO_WORKERS, train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
ELASTIC_EPOCHS = 40


class Nodes:
    """The cluster of nodes.py."""

    def __init__(self, process):
        self.process = process
        self.address = process.stdout.readline().strip()
        assert self.address, "the cluster did not start"

    def have(self, count):
        """Bring it to so many nodes."""
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == "ready"

    def workers(self):
        return training_workers(self.process.pid)

    def kill_one(self):
        """kill -9 of a node with a training worker, not the head: its raylet and all its children.

        Returns how many processes that were.
        """
        tree = parents()
        head = min(called(descendants(self.process.pid), str(raylet_binary())))
        raylet = next(tree[worker] for worker in self.workers() if tree[worker] != head)
        node = [raylet, *descendants(raylet)]
        for pid in node:
            kill(pid)
        return len(node)


def raylet_binary():
    import ray

    return Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"


@pytest.fixture(scope="module")
def environment():
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return {**plain, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}


@pytest.fixture(scope="module")
def nodes(environment):
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("nodes.py"), "3"], cwd=ROOT, env=environment,
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


def test_a_run_goes_on_when_a_node_of_three_dies(start, nodes, tmp_path, reference):
    nodes.have(3)
    command = start(*train(tmp_path), RAY_ADDRESS=nodes.address)
    run = tmp_path / "run"
    command.wait_for(lambda: epochs_in(run) == 2)
    processes = nodes.kill_one()
    killed, done = time.monotonic(), epochs_in(run)
    command.wait_for(lambda: len(command.starts()) == 2)
    seconds = time.monotonic() - killed
    command.end()
    found = difference(run, reference)
    repeated = done - command.starts()[1]
    report("node killed", processes=processes, full_epochs_repeated=repeated, difference=found,
           seconds_to_recover=f"{seconds:.1f}")  # fmt: skip
    assert repeated <= 1
    assert found.metrics == 0 and found.weights == 0


def test_an_elastic_run_that_loses_a_worker_and_gets_it_back_ends_alike(
    start, nodes, tmp_path, slow_recipe
):
    def elastic(storage):
        what = [*DATA, "--recipe", slow_recipe, "--epochs", ELASTIC_EPOCHS, *TWO_WORKERS]
        how = ["--sync-norms", "--min-workers", "1", "--storage", storage, "--name", "run"]
        return start("jobs.train", *what, *how, RAY_ADDRESS=nodes.address)

    nodes.have(2)
    undisturbed = elastic(tmp_path / "undisturbed")
    undisturbed.end()

    command = elastic(tmp_path)
    run = tmp_path / "run"
    command.wait_for(lambda: epochs_in(run) == 2)
    nodes.kill_one()
    lost = time.monotonic()
    command.wait_for(lambda: len(command.starts()) == 2)
    went_on = time.monotonic() - lost
    nodes.have(2)
    back = time.monotonic()
    command.wait_for(lambda: len(command.starts()) == 3)
    taken_up = time.monotonic() - back
    command.end()
    found = difference(run, tmp_path / "undisturbed" / "run")
    sizes = [line.split(" worker(s)")[0].rsplit(", ", 1)[1] for line in command.text().splitlines()
             if "Training epochs" in line]  # fmt: skip
    report("elastic, worker lost and back", workers=" then ".join(sizes), difference=found,
           seconds_until_it_went_on=f"{went_on:.1f}", seconds_until_taken_up=f"{taken_up:.1f}",
           epochs_printed_more_than_once=len(command.epochs()) - ELASTIC_EPOCHS)  # fmt: skip
    assert sizes == ["2", "1", "2"]
    assert len(command.epochs()) - ELASTIC_EPOCHS <= 2, "an epoch for each of the two changes"
    assert found.metrics < 1e-3
