"""The network to one of three nodes is lost under a run, which goes on without it.

Each node is in a network namespace of its own, all on one bridge; the link of one is taken down, so
that packets vanish, as when a cable is pulled. Nobody is told: connections just fall silent.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_commands import ROOT, SAME, TOKEN, difference, epochs_in, kill, report, train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(580)]
TAG = f"rc{os.getpid() % 10_000}"  # of interfaces, which have names of at most 15 letters
NODES = 3
INSIDE = "eth0"
PORT = 6399


def ip(*words, check=True):
    return subprocess.run(
        ["ip", *map(str, words)], check=check, capture_output=True, text=True
    ).stdout


def name(node):
    return f"{TAG}n{node}"


def address(node):
    return f"10.213.77.{node + 1}"


def processes(node):
    return [int(pid) for pid in ip("netns", "pids", name(node), check=False).split()]


@pytest.fixture(scope="module")
def network():
    """Three namespaces on a bridge."""
    try:
        ip("link", "add", f"{TAG}br", "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces need root, iproute2 and the right to make them: {error}")
    try:
        ip("link", "set", f"{TAG}br", "up")
        for node in range(NODES):
            ip("netns", "add", name(node))
            inside, outside = f"{TAG}i{node}", f"{TAG}o{node}"
            ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            ip("link", "set", outside, "master", f"{TAG}br", "up")
            ip("link", "set", inside, "netns", name(node))
            ip("-n", name(node), "link", "set", inside, "name", INSIDE)
            ip("-n", name(node), "addr", "add", f"{address(node)}/24", "dev", INSIDE)
            ip("-n", name(node), "link", "set", INSIDE, "up")
            ip("-n", name(node), "link", "set", "lo", "up")
            # Ray learns a machine's own address from its route to the world.
            ip("-n", name(node), "route", "add", "default", "dev", INSIDE)
        yield
    finally:
        for node in range(NODES):
            for pid in processes(node):
                kill(pid)
            ip("netns", "del", name(node), check=False)
            ip("link", "del", f"{TAG}o{node}", check=False)
        ip("link", "del", f"{TAG}br", check=False)


@pytest.fixture(scope="module")
def nodes(network, tmp_path_factory):
    """A Ray node of one core in each namespace."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    environment = {
        **plain,
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONUNBUFFERED": "1",
        "GLOO_SOCKET_IFNAME": INSIDE,  # else it asks what the host's name resolves to
        **TOKEN,
    }
    logs = tmp_path_factory.mktemp("nodes")
    started = []
    for node in range(NODES):
        to = [f"--address={address(0)}:{PORT}"]
        if node == 0:
            to = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        where = ["ip", "netns", "exec", name(node), sys.executable, "-m", "ray.scripts.scripts"]
        how = ["start", *to, f"--node-ip-address={address(node)}", "--num-cpus=1", "--block"]
        log = (logs / f"{node}.txt").open("w")
        started.append(
            subprocess.Popen(
                [*where, *how],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in (text := (logs / f"{node}.txt").read_text()):
            assert started[-1].poll() is None and time.monotonic() < deadline, text
            time.sleep(0.2)
    yield
    for process in started:
        kill(process.pid)
        process.wait()


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
    command = start(
        *train(tmp_path),
        within=["ip", "netns", "exec", name(0)],
        RAY_ADDRESS=f"{address(0)}:{PORT}",
    )
    run = tmp_path / "run"
    command.wait_for(lambda: epochs_in(run) == 2)
    cut = max(training_nodes())
    assert cut > 0, "both workers are on the head"
    ip("link", "set", f"{TAG}o{cut}", "down")
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
