"""One command at a time in a folder of results."""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.files import clear_asides

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
    path = folder / HELD
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder} is being worked on by another command; wait for it or stop it"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        clear_asides(folder, "**/.*" if below else ".*")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
