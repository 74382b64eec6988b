"""The metrics of each epoch of a run, as `history.csv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.files import write_whole
from cifar_model.first_few import first_few

HISTORY = "history.csv"
METRICS = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
STARTUP = "startup.json"  # beside it: seconds from the command to its first step


@dataclass(frozen=True)
class EpochRecord:
    """Metrics of one epoch: losses in nats, accuracies in 0..1."""

    epoch: int  # from 0
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float  # of the epoch's last step
    images_per_second: float  # training images over all workers, validation left out
    seconds: float  # wall time since the epoch before ended: validation and checkpoint included


_HEADER = ",".join(field.name for field in fields(EpochRecord))


def read_history(path: Path) -> list[EpochRecord]:
    """The records in `history.csv`, oldest first; none if there is no such file.

    InputError that names the first line that is no record.
    """
    records, wrong = _read(path)
    if wrong:
        raise InputError(
            f"{path} can't be used: {wrong}; restore the file, or do without its curves: remove it"
        )
    return records


def readable_history(path: Path) -> list[EpochRecord]:
    """The records that can be read, oldest first, whatever the rest of the file is like."""
    return _read(path)[0]


def mend_history(path: Path, epochs: int, say: Callable[[str], None]) -> list[EpochRecord]:
    """Cut `history.csv` down to what can be read of the first `epochs` epochs; returns that.

    For a run that a checkpoint carries on: it can do without the record.

    say: told which epochs are missing.
    """
    records, wrong = _read(path)
    records = [record for record in records if record.epoch < epochs]
    missing = sorted(set(range(epochs)) - {record.epoch for record in records})
    if missing:
        why = f" ({wrong})" if wrong else ""
        say(f"{path} has no record of epoch {first_few(missing)}{why}; going on without")
    write_history(path, records)
    return records


def _read(path: Path) -> tuple[list[EpochRecord], str]:
    """The lines that are records, and what is wrong with the first that is not ("" if all are)."""
    if not path.exists():
        return [], ""
    try:
        header, *lines = path.read_bytes().decode(errors="replace").split("\n")
    except OSError as error:
        return [], str(error.strerror)
    if header.strip() != _HEADER:
        return [], f"line 1 is {header[:80]!r}, expected {_HEADER}"
    *ended, rest = lines or [""]
    records, wrong = [], []
    for number, line in enumerate(ended, start=2):
        try:
            epoch, *values = line.split(",")
            records.append(EpochRecord(int(epoch), *map(float, values)))
        except (ValueError, TypeError):
            wrong.append(f"line {number} is {line[:80]!r}, expected {_HEADER}")
    if rest:
        wrong.append(f"line {len(ended) + 2} is {rest[:80]!r} without a line end")
    return records, wrong[0] if wrong else ""


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Replace `history.csv` by these records, in one step."""
    lines = [_HEADER]
    lines += [",".join(f"{value:.6g}" for value in asdict(record).values()) for record in records]
    write_whole(path, ("\n".join(lines) + "\n").encode())
