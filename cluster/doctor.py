"""Look whether a cluster is fit for work, and say what to do about what is not.

python -m cluster.doctor --storage s3://bucket/runs

Checks the address, the token, Ray's version, the nodes' CPUs, GPUs and free disk; with --storage
Python's version too, that every node can write there and read what those before it wrote, and that
PyTorch can use the GPUs that a node has.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.settings import NVIDIA_DRIVER, pinned

FREE_DISK = 10 * 2**30  # bytes; an image, an object store's spill and a few checkpoints
PROBE_SECONDS = 180
TOKEN_REMEDY = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token to the cluster's"


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    well: bool
    what: str
    remedy: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 if something is not well."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.doctor",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--address", help="of the job server (default: RAY_ADDRESS, else the one on this machine)"
    )
    parser.add_argument("--storage", help="where runs go: a shared folder or URI, to try it out")
    options = parser.parse_args(arguments)
    address = options.address or os.environ.get("RAY_ADDRESS", "http://127.0.0.1:8265")
    well = True
    for finding in examine(address.rstrip("/"), options.storage):
        print(f"{'ok   ' if finding.well else 'WRONG'}  {finding.what}", flush=True)
        if not finding.well:
            well = False
            print(f"       -> {finding.remedy}", flush=True)
    sys.exit(0 if well else 1)


def examine(address: str, storage: str | None) -> Iterator[Finding]:
    """Findings, as they come; the first failure that hides all others is the last."""
    import requests

    headers = auth_headers()
    try:
        answer = requests.get(f"{address}/api/version", headers=headers, timeout=10)
    except (requests.RequestException, ValueError):
        yield Finding(
            False,
            f"address {address}: nothing answers",
            "start a head (python -m cluster.local up), open the tunnel (ray dashboard FILE, "
            "kubectl port-forward), or set RAY_ADDRESS to http://HOST:8265",
        )
        return
    if answer.status_code in (401, 403):
        yield Finding(True, f"address {address}: a Ray job server answers")
        yield Finding(
            False,
            "token: " + ("not the cluster's" if headers else "none sent, and the cluster asks"),
            TOKEN_REMEDY,
        )
        return
    try:
        versions = answer.json()
        theirs = versions["ray_version"]
    except (ValueError, KeyError):
        yield Finding(
            False,
            f"address {address}: something answers that is no Ray job server",
            "set RAY_ADDRESS to the dashboard's address, http://HOST:8265",
        )
        return
    yield Finding(True, f"address {address}: a Ray job server answers")
    yield from token_findings(address, headers)
    wanted = pinned("ray")
    yield Finding(
        theirs == wanted,
        f"Ray {theirs} there, {wanted} in constraints.txt",
        "use the image made from this commit, or install the pinned version on all nodes",
    )
    nodes = requests.get(f"{address}/nodes?view=summary", headers=headers, timeout=30).json()
    yield from node_findings(nodes["data"]["summary"])
    if storage:
        yield from probe(address, storage)


def auth_headers() -> dict[str, str]:
    """The header with the token that Ray itself would send; none where tokens are off."""
    from ray._private.authentication.http_token_authentication import (
        get_auth_headers_if_auth_enabled,
    )
    from ray.exceptions import AuthenticationError

    try:
        return dict(get_auth_headers_if_auth_enabled({}))
    except AuthenticationError:
        return {}


def token_findings(address: str, headers: dict[str, str]) -> Iterator[Finding]:
    """Whether the cluster takes requests without a token."""
    import requests

    bare = requests.get(f"{address}/api/jobs/", timeout=30)
    if bare.status_code == 200:
        yield Finding(
            False,
            "token: the cluster takes jobs from anyone who reaches it",
            "set RAY_AUTH_MODE=token on every node before Ray starts",
        )
        return
    own = requests.get(f"{address}/api/jobs/", headers=headers, timeout=30)
    yield Finding(
        own.status_code == 200,
        "token: asked for" + (", and ours is right" if own.status_code == 200 else ""),
        TOKEN_REMEDY,
    )


def node_findings(nodes: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    """What each node has, and whether its disk has room."""
    gpus = 0
    for node in nodes:
        raylet = node.get("raylet", {})
        if raylet.get("state") == "DEAD":
            continue  # the dashboard remembers it; an autoscaler has many such
        resources = raylet.get("resourcesTotal", {})
        gpus += int(resources.get("GPU", 0))
        name = f"node {node.get('hostname')} {node.get('ip')}"
        found = f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs"
        yield Finding(True, f"{name}: {found}")
        free = min((disk["free"] for disk in node.get("disk", {}).values()), default=None)
        if free is not None:
            yield Finding(
                free >= FREE_DISK,
                f"{name}: {free / 2**30:.1f} GiB of disk free",
                f"free some: under {FREE_DISK / 2**30:.0f} GiB Ray may stop spilling and pulling; "
                "/tmp/ray holds logs of old sessions",
            )
    if not gpus:
        yield Finding(True, "no GPU now: training runs on CPUs until the autoscaler adds GPU nodes")


def probe(address: str, storage: str) -> Iterator[Finding]:
    """Have every node write to the storage and read what those before it wrote."""
    from ray.job_submission import JobStatus, JobSubmissionClient

    text = (Path(__file__).parent / "probe.py").read_text(encoding="utf-8")
    os.environ["RAY_API_SERVER_ADDRESS"] = address  # Ray lets the environment win over the argument
    client = JobSubmissionClient(address)
    command = f"python -c {shlex.quote(text)} {shlex.quote(storage)}"
    try:
        job = client.submit_job(entrypoint=command)
    except RuntimeError as error:
        yield Finding(
            False,
            f"jobs: {' '.join(str(error).split())}",
            "a head that has just started needs some seconds; if it stays so, see "
            "dashboard_agent.log on the head: another Ray may hold its port",
        )
        return
    deadline = time.monotonic() + PROBE_SECONDS
    while not client.get_job_status(job).is_terminal() and time.monotonic() < deadline:
        time.sleep(1)
    logs = client.get_job_logs(job)
    lines = [line for line in logs.splitlines() if line.startswith("PROBE ")]
    if client.get_job_status(job) != JobStatus.SUCCEEDED or not lines:
        last = (logs.strip().splitlines() or ["no output"])[-1]
        yield Finding(False, f"storage {storage}: the probe failed: {last}", f"see job {job}")
        return
    yield from probe_findings(storage, json.loads(lines[-1].removeprefix("PROBE ")))


def probe_findings(storage: str, result: dict[str, Any]) -> Iterator[Finding]:
    """What probe.py has seen on all nodes."""
    here = platform.python_version_tuple()[:2]
    others = {tuple(version) for version in result["pythons"]} - {here}
    yield Finding(
        not others,
        f"Python {'.'.join(here)} here"
        + "".join(f", {'.'.join(version)} on a node" for version in sorted(others)),
        "use the image made from this commit on all nodes, and its Python here",
    )
    failures = "; ".join(f"{node}: {wrong}" for node, wrong in result["failures"].items())
    yield Finding(
        not failures,
        f"storage {storage}: "
        + (failures or f"{result['nodes']} node(s) write there and read what those before wrote"),
        "mount the same folder at the same path on every node, or give every node credentials "
        "for the bucket (AWS_*, GOOGLE_APPLICATION_CREDENTIALS)",
    )
    for node, reason in result["blind"].items():
        yield Finding(
            False,
            f"node {node}: PyTorch can't use its GPUs: {reason}",
            f"use the CUDA image on a driver of {NVIDIA_DRIVER} or newer; see nvidia-smi",
        )


if __name__ == "__main__":
    main()
