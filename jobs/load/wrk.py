"""Closed-loop load by wrk: each connection sends its next request once the last is answered.

wrk's percentiles are corrected for the requests that a slow answer kept from being sent.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from cifar_model.errors import InputError
from jobs.load.target import LoadResult, Target

SCRIPT = Path(__file__).with_name("wrk.lua")
TIMEOUT_S = 30  # an answer that takes longer is an error


def require_wrk() -> None:
    """InputError if wrk is not installed."""
    if shutil.which("wrk") is None:
        raise InputError("wrk is not installed, which drives the load: apt-get install wrk")


def drive(target: Target, connections: int, seconds: int) -> LoadResult:
    """Load a server from one thread of a process of its own."""
    command = [
        *("wrk", "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT)),
        *(target.url, "--", str(target.bodies.path), target.bodies.content_type),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 2 * TIMEOUT_S)
    if run.returncode:
        raise RuntimeError(f"wrk failed on {target.url}: {run.stderr or run.stdout}")
    return parse(run.stdout)


def parse(output: str) -> LoadResult:
    """The line of JSON that the script printed after wrk's own report."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if len(lines) != 1:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    return LoadResult(**json.loads(lines[0]))
