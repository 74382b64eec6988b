"""Processes of this machine, by their numbers: whose they are, what they hold, and their end."""

import os
import signal
from pathlib import Path


def kill(pid):
    """kill -9, of a process that may be gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def parents():
    """The parent of each process."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                # The name may hold spaces and brackets; what follows the last one is regular.
                found[int(entry.name)] = int(
                    (entry / "stat").read_text().rpartition(")")[2].split()[1]
                )
        except (OSError, ValueError):
            continue
    return found


def descendants(pid):
    """All processes that a process has started, and those that they have."""
    family, tree = [pid], parents()
    for member in family:
        family += [child for child, parent in tree.items() if parent == member]
    return family[1:]


def called(pids, title):
    """Those of the processes whose title begins so."""
    found = []
    for pid in pids:
        try:
            if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                found.append(pid)
        except OSError:
            continue
    return found


def holder_of(path, pids):
    """The one of these processes that has a file open, if one does."""
    for pid in pids:
        try:
            if any(str(link.readlink()) == str(path) for link in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
        except OSError:
            continue
    return None
