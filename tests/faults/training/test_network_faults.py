"""The network to one of three nodes is lost under a run, which goes on without it.

Nobody is told: connections just fall silent.
"""

import time
from pathlib import Path

import pytest

from cluster.settings import RAY_ENVIRONMENT
from tests.faults.namespaces import HEAD, INSIDE, cut_off, namespaces, processes, ray_nodes, within
from tests.faults.training.fault_commands import SAME, difference, epochs_in, report, train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(580)]
NODES = 3


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """A Ray node of one core in each namespace."""
    # Without the last, gloo asks what the host's name resolves to.
    more = {**RAY_ENVIRONMENT, "PYTHONUNBUFFERED": "1", "GLOO_SOCKET_IFNAME": INSIDE}
    with namespaces(NODES), ray_nodes([1] * NODES, tmp_path_factory.mktemp("nodes"), **more):
        yield


def training_nodes():
    """The nodes that have a training worker."""
    found = set()
    for node in range(NODES):
        for pid in processes(node):
            try:
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::RayTrainWorker"):
                    found.add(node)
            except OSError:
                continue
    return found


def test_a_run_goes_on_when_the_network_to_a_node_is_lost(start, nodes, tmp_path, reference):
    command = start(*train(tmp_path), within=within(0), RAY_ADDRESS=HEAD)
    run = tmp_path / "run"
    command.wait_for(lambda: epochs_in(run) >= 2)
    cut = max(training_nodes())
    assert cut > 0, "both workers are on the head"
    cut_off(cut)
    lost, done = time.monotonic(), epochs_in(run)
    # Each of the nodes reads out the lines of all, for they share a disk.
    command.wait_for(lambda: max(command.starts()) > 0, seconds=300)
    seconds = time.monotonic() - lost
    command.end()
    found = difference(run, reference)
    repeated = done - max(command.starts())
    report("network to a node lost", full_epochs_repeated=repeated, difference=found,
           seconds_to_recover=f"{seconds:.1f}")  # fmt: skip
    assert repeated <= 1
    assert found == SAME
