"""How many CPU cores there are to use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def usable_cores(cgroup: Path = CGROUP) -> int:
    """CPU cores that this process may run on; in a container no more than its quota, rounded up.

    cgroup: the file system of control groups. A quota of a group below its root is not seen.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """CPU seconds a second, by version 2 or 1 of control groups; None without a limit."""
    v1 = cgroup / "cpu"
    try:
        if (cgroup / "cpu.max").is_file():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (v1 / "cpu.cfs_quota_us").read_text().strip()
            period = (v1 / "cpu.cfs_period_us").read_text()
    except OSError:
        return None
    return None if limit in ("max", "-1") else int(limit) / int(period)
