"""Whether decoded images fit into the memory there is, before any is decoded."""

from __future__ import annotations

import os
from pathlib import Path

from cifar_model.cores import CGROUP
from cifar_model.errors import InputError


def check_room(count: int, image_size: int, *, copied: int = 0) -> None:
    """InputError if so many images of this side, in pixels, need more memory than there is.

    copied: how many of them are needed twice for a while.
    """
    needed, there = (count + copied) * image_size**2 * 3, available_memory()
    if needed > there:
        twice = f", {copied:,} of them twice for a while," if copied else ""
        raise InputError(
            f"{count:,} images of {image_size}x{image_size}{twice} need {needed / 2**30:,.1f} GiB "
            f"of memory, {there / 2**30:,.1f} GiB are free; use a smaller --image-size, or to "
            "train --stream"
        )


def available_memory(cgroup: Path = CGROUP) -> int:
    """Bytes that this process could still be given without swapping; in a container, by its limit.

    cgroup: the file system of control groups. A limit of a group below its root is not seen.
    """
    there, left = _available_here(), _left_of_limit(cgroup)
    return there if left is None else max(0, min(there, left))


def _available_here() -> int:
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _left_of_limit(cgroup: Path) -> int | None:
    """Bytes up to the limit, by version 2 or 1 of control groups; None without one."""
    v1 = cgroup / "memory"
    try:
        if (cgroup / "memory.max").is_file():
            limit, used = (cgroup / "memory.max", cgroup / "memory.current")
            statistics, name = cgroup / "memory.stat", "inactive_file"
        else:
            limit, used = v1 / "memory.limit_in_bytes", v1 / "memory.usage_in_bytes"
            statistics, name = v1 / "memory.stat", "total_inactive_file"
        most = limit.read_text().strip()
        if most == "max":
            return None
        # Files that were read stay in memory as long as nobody else needs it.
        lines = (line.split() for line in statistics.read_text().splitlines())
        given_back = sum(int(value) for key, value in lines if key == name)
        return int(most) - int(used.read_text()) + given_back
    except OSError:
        return None
