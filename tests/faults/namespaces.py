"""Ray nodes of this machine, as far apart as machines: each in a network namespace of its own, all
on one bridge. Root only.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.processes import kill

ROOT = Path(__file__).parents[2]
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-token-of-the-tests-that-guards-no-more"}
TAG = f"rc{os.getpid() % 10_000}"  # of interfaces, which have names of at most 15 letters
INSIDE = "eth0"
PORT = 6399


def address(node):
    """Of a node; 0 is the head."""
    return f"10.213.77.{node + 1}"


HEAD = f"{address(0)}:{PORT}"


def within(node):
    """The words before a command that run it on a node."""
    return ["ip", "netns", "exec", _name(node)]


def processes(node):
    """The numbers of all processes of a node."""
    return [int(pid) for pid in _ip("netns", "pids", _name(node), check=False).split()]


def cut_off(node):
    """Take down its link, so that packets vanish, as when a cable is pulled."""
    _ip("link", "set", f"{TAG}o{node}", "down")


@contextmanager
def namespaces(count):
    """So many namespaces on a bridge, which this machine itself is on too."""
    try:
        _ip("link", "add", f"{TAG}br", "type", "bridge")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces need root, iproute2 and the right to make them: {error}")
    try:
        _ip("addr", "add", "10.213.77.254/24", "dev", f"{TAG}br")
        _ip("link", "set", f"{TAG}br", "up")
        for node in range(count):
            _ip("netns", "add", _name(node))
            inside, outside = f"{TAG}i{node}", f"{TAG}o{node}"
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside)
            _ip("link", "set", outside, "master", f"{TAG}br", "up")
            _ip("link", "set", inside, "netns", _name(node))
            _ip("-n", _name(node), "link", "set", inside, "name", INSIDE)
            _ip("-n", _name(node), "addr", "add", f"{address(node)}/24", "dev", INSIDE)
            _ip("-n", _name(node), "link", "set", INSIDE, "up")
            _ip("-n", _name(node), "link", "set", "lo", "up")
            # Ray learns a machine's own address from its route to the world.
            _ip("-n", _name(node), "route", "add", "default", "dev", INSIDE)
        yield
    finally:
        for node in range(count):
            for pid in processes(node):
                kill(pid)
            _ip("netns", "del", _name(node), check=False)
            _ip("link", "del", f"{TAG}o{node}", check=False)
        _ip("link", "del", f"{TAG}br", check=False)


@contextmanager
def ray_nodes(cores, logs, **environment):
    """A Ray node in each of the first namespaces, with so many cores; the first is the head."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    whole = {**plain, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0", **TOKEN}
    started = []
    for node, count in enumerate(cores):
        to = [f"--address={HEAD}"]
        if node == 0:
            to = ["--head", f"--port={PORT}", "--include-dashboard=false"]
        how = [*to, f"--node-ip-address={address(node)}", f"--num-cpus={count}", "--block"]
        command = [*within(node), sys.executable, "-m", "ray.scripts.scripts", "start", *how]
        with (logs / f"{node}.txt").open("w") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**whole, **environment}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        started.append(process)
        deadline = time.monotonic() + 90
        while "Ray runtime started" not in (text := (logs / f"{node}.txt").read_text()):
            assert process.poll() is None and time.monotonic() < deadline, text
            time.sleep(0.2)
    yield
    for process in started:
        kill(process.pid)
        process.wait()


def _ip(*words, check=True):
    return subprocess.run(
        ["ip", *map(str, words)], check=check, capture_output=True, text=True
    ).stdout


def _name(node):
    return f"{TAG}n{node}"
