"""The checkpoints of a run: one an epoch, and how to tell a whole one from a broken one.

RUN/checkpoint_epoch0003/checkpoint.ckpt

Needs no PyTorch: its files are zip archives, which carry a checksum of every part. `torch.load`
does not look at them and takes a file with a hole in it for a good one. The archive's directory has
none of its own, so we put one at the very end, where zip allows a comment.
"""

from __future__ import annotations

import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

from cifar_model.errors import InputError

CHECKPOINT = "checkpoint.ckpt"
KEPT = 2  # the newest, and one to go back to
_END = 22  # bytes of the record that ends a zip archive, before its comment
_NAME = re.compile(r"checkpoint_epoch(\d{4,})")


def folder_name(epoch: int) -> str:
    """The name of an epoch's checkpoint folder."""
    return f"checkpoint_epoch{epoch:04d}"


def epoch_of(name: str) -> int:
    """The epoch after which a checkpoint folder of this name was written; -1 for other names."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else -1


def local_checkpoints(run: Path) -> list[str]:
    """Names of the folders in a run's folder that hold a checkpoint, newest first."""
    names = [path.parent.name for path in run.glob(f"*/{CHECKPOINT}")]
    return newest_first(names)


def newest_first(names: Iterable[str]) -> list[str]:
    """Those of these names that are checkpoint folders', in order."""
    return sorted((n for n in names if epoch_of(n) >= 0), key=epoch_of, reverse=True)


def seal(checkpoint: BytesIO) -> None:
    """Append the checksum of its directory to a zip archive without a comment."""
    with zipfile.ZipFile(checkpoint) as archive:
        checkpoint.seek(archive.start_dir)
    checksum = _checksum(checkpoint.read()[:-_END])
    checkpoint.seek(-2, 2)
    checkpoint.write(struct.pack("<H", len(checksum)) + checksum)


def flaw(file: Path) -> str | None:
    """What is wrong with a checkpoint file, in a few words; None if it is whole."""
    try:
        with zipfile.ZipFile(file) as archive, file.open("rb") as content:
            bad = archive.testzip()
            content.seek(archive.start_dir)
            directory = content.read()[: -_END - len(archive.comment)]
    except Exception as error:  # zipfile raises whatever the bytes of a damaged directory lead to
        return f"{file.stat().st_size if file.exists() else 0} bytes, {error}"
    # Checkpoints of earlier versions have no comment.
    if not bad and archive.comment and archive.comment != _checksum(directory):
        bad = "directory"
    return f"its part {bad} does not match its checksum" if bad else None


def _checksum(directory: bytes) -> bytes:
    return b"%08x" % zlib.crc32(directory)


def newest_whole(
    names: Iterable[str], fetch: Callable[[str], Path], say: Callable[[str], None]
) -> tuple[int, Path] | None:
    """The epoch and the file of the newest checkpoint that is whole; None if there is none yet.

    names: of checkpoint folders. fetch: gives the file of one, on this machine.
    say: told about each that is passed over.

    InputError if all are broken and more than one epoch would have to be done again.
    """
    broken: list[str] = []
    for name in newest_first(names):
        file = fetch(name)
        wrong = flaw(file)
        if wrong is None:
            if broken:
                say(f"Going back to {name}")
            return epoch_of(name), file
        broken.append(name)
        say(f"{name} is broken and not used: {wrong}")
    if broken and epoch_of(broken[0]) > 0:
        raise InputError(
            f"none of the run's checkpoints is whole ({', '.join(broken)}), so it can't go on; "
            "restore one from a backup, or start a new run under another --name"
        )
    return None


def newest_whole_here(run: Path, say: Callable[[str], None]) -> tuple[int, Path] | None:
    """`newest_whole` of a run whose checkpoints are on this machine's file system."""
    return newest_whole(local_checkpoints(run), lambda name: run / name / CHECKPOINT, say)


def prune(run: Path) -> None:
    """Remove the checkpoint folders older than the KEPT newest."""
    kept = local_checkpoints(run)[:KEPT]
    if len(kept) < KEPT:
        return
    for path in run.iterdir():
        if 0 <= epoch_of(path.name) < epoch_of(kept[-1]):
            # Another cleaner may be at it; what stays is taken next time.
            shutil.rmtree(path, ignore_errors=True)
