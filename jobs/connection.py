"""Connecting to Ray: the cluster that RAY_ADDRESS names, or one of our own for this command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ray_cluster() -> Iterator[dict[str, float]]:
    """Ray's total resources ("CPU", "GPU", …) while connected; disconnects at the end.

    Without RAY_ADDRESS it starts a local Ray with one CPU a core that this process may use.
    """
    # Shows training runs in the dashboard of a cluster that has one.
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    import ray

    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="WARNING")
    else:
        ray.init(
            address="local",
            num_cpus=usable_cores(),
            include_dashboard=False,
            logging_level="WARNING",
        )
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_local() -> bool:
    """Whether `ray_cluster` starts a cluster of its own."""
    return not os.environ.get("RAY_ADDRESS")
