"""Where the page keeps uploads and answers for a day, and what an earlier, killed page left there.

Gradio deletes its own files once they are a day old, but knows only of those it wrote itself.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

DAY_S = 24 * 3600.0
_NAME = "GRADIO_TEMP_DIR"


def own_cache() -> None:
    """Give the page a folder of its own, swept; before Gradio is imported, which reads its name.

    A folder that the environment names is used as it is, for others may keep files there.
    """
    if _NAME in os.environ:
        return
    folder = Path(tempfile.gettempdir()) / f"ray-cifar-page-{os.getuid()}"
    os.environ[_NAME] = str(folder)
    sweep(folder)


def sweep(folder: Path) -> None:
    """Remove files that are older than a day, and folders that are empty then."""
    now = time.time()
    # Deepest first. Another page may do the same meanwhile.
    for path in sorted(folder.rglob("*"), reverse=True):
        try:
            if now - path.lstat().st_mtime <= DAY_S:
                continue
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:
            continue
