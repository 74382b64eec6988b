"""What a process and all its descendants take, from Linux's /proc."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process; its start tells it from a later one with the same number."""

    pid: int
    started: int  # ticks since boot


@dataclass(frozen=True)
class _Stat:
    parent: int
    cpu_seconds: float
    started: int
    ended: bool  # though its parent has not heard of it yet


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may hold anything; the third field follows it.
    fields = text[text.rindex(")") + 2 :].split()
    return _Stat(
        parent=int(fields[1]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        started=int(fields[19]),
        ended=fields[0] in "ZX",
    )


def cpu_seconds(root: int) -> dict[Process, float]:
    """CPU time so far of each process of a tree."""
    stats = {
        int(entry.name): stat
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and (stat := _read_stat(int(entry.name))) is not None
    }
    tree, grows = {root} & set(stats), True
    while grows:
        more = {pid for pid, stat in stats.items() if stat.parent in tree} - tree
        tree |= more
        grows = bool(more)
    return {Process(pid, stats[pid].started): stats[pid].cpu_seconds for pid in tree}


def cpu_between(before: Mapping[Process, float], after: Mapping[Process, float]) -> float:
    """CPU seconds between two readings; what ended in between is not counted."""
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())


def memory_mib(processes: Iterable[Process]) -> float:
    """Memory of processes in MiB, each shared page by its share (PSS)."""
    kib = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def kill_left(processes: Iterable[Process]) -> None:
    """Kill those of the processes that still run; return when they are gone."""
    left = [process for process in processes if _runs(process)]
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    while any(_runs(process) for process in left):
        time.sleep(0.01)


def _runs(process: Process) -> bool:
    stat = _read_stat(process.pid)
    return stat is not None and stat.started == process.started and not stat.ended
