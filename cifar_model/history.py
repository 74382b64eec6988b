"""The metrics of each epoch of a run, as `history.csv`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from cifar_model.files import write_whole

HISTORY = "history.csv"


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


def read_history(path: Path) -> list[EpochRecord]:
    """The records in `history.csv`, oldest first; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            EpochRecord(int(row.pop("epoch")), **{k: float(v) for k, v in row.items()})
            for row in csv.DictReader(file)
        ]


def write_history(path: Path, records: Sequence[EpochRecord]) -> None:
    """Replace `history.csv` by these records, in one step."""
    columns = [field.name for field in fields(EpochRecord)]
    lines = [",".join(columns)]
    lines += [",".join(f"{value:.6g}" for value in asdict(record).values()) for record in records]
    write_whole(path, ("\n".join(lines) + "\n").encode())
