"""Connecting to Ray: the cluster that RAY_ADDRESS names, or one of our own for this command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# Read by Ray when it is imported or started, so set before; a user's own settings win.
RAY_SETTINGS = {
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # training runs show in the dashboard
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it repeats each line that a worker prints
}


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
        context = ray.init(
            address="local",
            num_cpus=usable_cores(),
            include_dashboard=True,
            logging_level="WARNING",
            log_to_driver=worker_output,
        )
    try:
        url = context.dashboard_url
        yield Cluster(ray.cluster_resources(), f"http://{url}" if url else None)
    finally:
        ray.shutdown()


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_local() -> bool:
    """Whether `ray_cluster` starts a cluster of its own."""
    return not os.environ.get("RAY_ADDRESS")
