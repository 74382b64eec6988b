"""One command at a time in a folder of results."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from cifar_model.errors import InputError
from cifar_model.files import clear_asides, is_aside

HELD = ".held"
# What file systems without locks say, such as some NFS and Lustre mounts.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def held(folder: Path, *, below: bool = False) -> Iterator[None]:
    """Keep other commands from this folder; InputError if one is at work on it.

    Removes what a killed one has left half-written.
    below: the folders in it belong to this command too; else others may be writing there.
    The hold ends with the process, however that ends. It reaches as far as file locks do.
    """
    with _locked(folder) as file:
        clear_asides(folder, "**/.*" if below else ".*")
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


def is_begun(folder: Path) -> bool:
    """Whether a folder has more in it than what commands put there while they claim it."""
    return any(path.name != HELD and not is_aside(path) for path in folder.iterdir())


def _locked(folder: Path) -> TextIO:
    """The file that says so, open and locked."""
    while True:
        file = (folder / HELD).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(file, folder / HELD):
                return file
        except BlockingIOError:
            file.close()
            raise InputError(
                f"{folder} is being worked on by another command; wait for it or stop it"
            ) from None
        except OSError as error:
            if error.errno in NO_LOCKS:
                return file
            file.close()
            raise
        file.close()  # who held it has taken it away since we opened it


def _is(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
