"""The servers that the serving benchmark compares, each as a command, and how the rivals are tuned.

A server of Python processes does best, by its model and the machine, with one process whose forward
pass takes all cores or with a process for each core. Each rival is tried both ways, and keeps what
answered more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cifar_model.cores import usable_cores
from jobs.free_port import free_port
from jobs.load import wrk
from jobs.load.server import Server, serving
from jobs.load.target import Bodies, Target

OURS, EAGER, PREPARED, LITSERVE, NO_OP = "ours", "eager", "prepared", "litserve", "no-op"
TRIAL_CONNECTIONS = 32
WARM_UP_S = 1


@dataclass(frozen=True)
class Program:
    """A server that can be started."""

    module: str
    ready: str  # path that is answered once it can take requests
    trial: str | None = None  # path to try numbers of worker processes on; None: it has no choice


PROGRAMS = {
    OURS: Program("serve_app", "/readyz"),
    EAGER: Program("jobs.rivals.fastapi_eager", "/docs", "/classify"),
    PREPARED: Program("jobs.rivals.fastapi_prepared", "/docs", "/classify"),
    LITSERVE: Program("jobs.rivals.litserve_prepared", "/health", "/classify"),
    NO_OP: Program("jobs.rivals.no_op", "/"),
}


def available() -> dict[str, Program]:
    """The programs whose packages are installed."""
    return {
        name: program
        for name, program in PROGRAMS.items()
        if name != LITSERVE or find_spec("litserve")
    }


@contextmanager
def running(name: str, model: Path, folder: Path, workers: int | None = None) -> Iterator[Server]:
    """A server that is ready, for as long as the block lasts.

    folder: for its log. workers: processes of a rival, which share the cores.
    """
    program, port = PROGRAMS[name], free_port()
    command = [sys.executable, "-m", program.module, "--model", str(model), "--port", str(port)]
    if workers is not None:
        command += ["--workers", str(workers)]
    # Ours is to run on a Ray of its own, on this machine.
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with serving(name, command, port, folder, environment) as server:
        server.await_ready(program.ready)
        yield server


def best_workers(
    name: str, model: Path, folder: Path, pictures: Bodies, seconds: int
) -> int | None:
    """How many processes a rival answers most with; None if it has no choice."""
    program, cores = PROGRAMS[name], usable_cores()
    if program.trial is None:
        return None
    rates: dict[int, float] = {}
    for workers in {1, cores}:
        with running(name, model, folder, workers) as server:
            target = Target(server.url + program.trial, pictures)
            wrk.drive(target, TRIAL_CONNECTIONS, WARM_UP_S)
            result = wrk.drive(target, TRIAL_CONNECTIONS, seconds)
            rates[workers] = result.answered / result.seconds
    return max(rates, key=lambda workers: rates[workers])


def start_all(
    stack: ExitStack, model: Path, folder: Path, workers: dict[str, int | None]
) -> dict[str, Server]:
    """All servers, ready, one after the other: ours bounds its queue by the speed at its start."""
    return {
        name: stack.enter_context(running(name, model, folder, count))
        for name, count in workers.items()
    }
