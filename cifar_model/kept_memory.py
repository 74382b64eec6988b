"""Memory that tensors give back stays with the process, for the next step.

glibc returns each large block to the system, which clears it page by page when the next step asks
for as much again: on a CPU a seventh of a training step. Kept, it makes a process a third larger,
and none of it is returned before the process ends. C libraries other than glibc ignore all this,
and where the environment sets glibc's memory itself, that holds.
"""

from __future__ import annotations

import ctypes
import os
import platform

# For a process still to be started, in all its threads: see mallopt(3). Threads with a heap of
# their own would have large blocks from the system still.
KEPT_MEMORY = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
    "MALLOC_ARENA_MAX": "1",
}
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def kept_memory() -> dict[str, str]:
    """The environment of such a process; empty where this one's has settings of its own."""
    return {} if _is_set_already() else KEPT_MEMORY


def keep_freed_memory() -> None:
    """The same for this process, as far as its main thread allocates."""
    if platform.libc_ver()[0] == "glibc" and not _is_set_already():
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # the largest size_t


def _is_set_already() -> bool:
    return any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
