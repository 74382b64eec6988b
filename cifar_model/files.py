"""Files and folders that appear whole or not at all: written aside, then renamed."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Between a file's own name and what mkstemp and mkdtemp append, so that no file of anybody else is
# taken for one of these.
_MARK, _OLD = ".aside-", ".old"
_ASIDE = re.compile(rf"\.(.+){re.escape(_MARK)}[a-z0-9_]{{8}}({re.escape(_OLD)})?")


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file, replacing one that is there; a reader sees the old or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}{_MARK}", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a result is as readable as any other new file.
        Path(aside).chmod(0o666 & ~_umask())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)  # an interruption may come when it has been renamed
        raise


def write_json(path: Path, value: object) -> None:
    """`write_whole` of a value as indented JSON."""
    write_whole(path, (json.dumps(value, indent=2) + "\n").encode())


@contextmanager
def new_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends well and vanishes when it fails.

    Raises FileExistsError if something is at `path` before the block or after it, unless `replace`:
    then the old folder stays until the new one is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not replace:
        raise _exists(path)
    aside = _aside_folder(path)
    old = aside.with_name(aside.name + _OLD)
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if path.exists():
            if not replace:
                raise _exists(path)
            path.rename(old)
        aside.rename(path)
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)  # an interruption may come when both were renamed
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` for a block; after a kill `clear_asides` removes it."""
    aside = _aside_folder(path)
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def clear_asides(folder: Path, pattern: str = "**/.*") -> None:
    """Remove what writers that were killed have left in a folder and below.

    An old folder whose new one never came is put back.

    Only for a folder that nobody is writing to.
    """
    for path in list(folder.glob(pattern)):
        if not (aside := _ASIDE.fullmatch(path.name)):
            continue
        name, old = aside.groups()
        if old and not path.with_name(name).exists():
            path.rename(path.with_name(name))
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def is_aside(path: Path) -> bool:
    """Whether it is one of these, being written or left by a writer that was killed."""
    return _ASIDE.fullmatch(path.name) is not None


def clear_asides_of(path: Path) -> None:
    """The same, of one file or folder that nobody is writing."""
    clear_asides(path.parent, f".{glob.escape(path.name)}{_MARK}*")


def _aside_folder(path: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}{_MARK}", dir=path.parent))


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "is there already; choose another place", str(path))


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current
