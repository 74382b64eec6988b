"""Whether decoded images fit into this machine's memory, before any is decoded."""

from __future__ import annotations

import os
from pathlib import Path

from cifar_model.errors import InputError


def check_room(count: int, image_size: int) -> None:
    """InputError if so many images of this side, in pixels, need more memory than there is."""
    needed, there = count * image_size**2 * 3, available_memory()
    if needed > there:
        raise InputError(
            f"{count:,} images of {image_size}x{image_size} need {needed / 2**30:,.1f} GiB of "
            f"memory, {there / 2**30:,.1f} GiB are free; use a smaller --image-size, or to train "
            "--stream"
        )


def available_memory() -> int:
    """Bytes that this machine could still give a process, without swapping."""
    table = Path("/proc/meminfo")
    if table.exists():
        for line in table.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
