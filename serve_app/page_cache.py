"""Where the page keeps uploads and answers for a day, and what nobody else would remove from there.

Gradio deletes its own files once they are a day old, but knows neither of those of an earlier page
that was killed nor of uploads that were broken off.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
_NAME = "GRADIO_TEMP_DIR"


def use_own_cache() -> None:
    """Give the page a folder of its own, swept each hour. Before Gradio, which reads its name, is
    imported.

    A folder that the environment names is used as it is, for others may keep files there.
    """
    if _NAME in os.environ:
        return
    folder = Path(tempfile.gettempdir()) / f"ray-cifar-page-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    except OSError:
        ours = False
    if not ours:  # somebody else was there before us
        folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
    folder.chmod(0o700)
    os.environ[_NAME] = str(folder)
    sweep(folder)
    threading.Thread(target=_sweep_for_ever, args=(folder,), name="sweep", daemon=True).start()


def _sweep_for_ever(folder: Path) -> None:
    while True:
        time.sleep(HOUR_S)
        # Uploads that were broken off lie here; in the folders below is what Gradio looks after,
        # and the page's own pictures, which have the age of what they were copied from.
        _remove_old(path for path in folder.glob("*") if not path.is_dir())


def sweep(folder: Path) -> None:
    """Remove files that are older than a day, and folders that are empty then."""
    _remove_old(folder.rglob("*"))


def _remove_old(paths: Iterable[Path]) -> None:
    now = time.time()
    # Deepest first. Another page may do the same meanwhile.
    for path in sorted(paths, reverse=True):
        try:
            if now - path.lstat().st_mtime <= DAY_S:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:
            continue
