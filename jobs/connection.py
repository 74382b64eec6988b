"""Connecting to Ray: the cluster that RAY_ADDRESS names, or one of our own for this command."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cifar_model.cores import usable_cores

# Read by Ray when it is imported or started, so set before; a user's own settings win.
RAY_SETTINGS = {
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # training runs show in the dashboard
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it repeats each line that a worker prints
}

API_SERVER = "RAY_API_SERVER_ADDRESS"  # where Ray's state and job clients look first


@dataclass(frozen=True)
class Cluster:
    """What a connected Ray offers."""

    resources: dict[str, float]  # "CPU", "GPU", … in all
    dashboard: str | None  # its address, where this command knows it


@contextmanager
def ray_cluster(*, worker_output: bool = True) -> Iterator[Cluster]:
    """What Ray offers while connected; disconnects at the end.

    worker_output: print here what workers print.

    Without RAY_ADDRESS it starts a local Ray with one CPU a core that this process may use.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield Cluster(ray.cluster_resources(), dashboard=None)
        return
    if os.environ.get("RAY_ADDRESS"):
        context = ray.init(logging_level="WARNING", log_to_driver=worker_output)
    else:
        context = start_local_ray(
            num_cpus=usable_cores(), logging_level="WARNING", log_to_driver=worker_output
        )
    try:
        url = context.dashboard_url
        yield Cluster(ray.cluster_resources(), f"http://{url}" if url else None)
    finally:
        ray.shutdown()


def start_local_ray(**options: Any) -> Any:
    """`ray.init` of a Ray for this process alone; its actors ask it, and no other, about itself.

    Ray Train's watchers look for their dashboard by the environment, then as any command would:
    in the Ray that `ray start` began last on this machine, or the only one there is. Another Ray
    knows nothing of the run, which counts as its end, and the workers are taken away.
    """
    import ray

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    before = os.environ.get(API_SERVER)
    os.environ[API_SERVER] = f"http://127.0.0.1:{port}"  # inherited by all that Ray starts
    try:
        return ray.init(
            address="local",
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=port,
            **options,
        )
    finally:
        if before is None:
            del os.environ[API_SERVER]
        else:
            os.environ[API_SERVER] = before


def is_local() -> bool:
    """Whether `ray_cluster` starts a cluster of its own."""
    return not os.environ.get("RAY_ADDRESS")


def is_connected() -> bool:
    """Whether this process is; finds out without importing Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
