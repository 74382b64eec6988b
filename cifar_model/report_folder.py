"""Reads the report folder that `cifar_model.evaluation` writes; needs no PyTorch."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError

REPORT_FILE, MISTAKES_FILE = "report.json", "misclassified.npz"


@dataclass(frozen=True)
class Report:
    """What report.json says of a model on a test set of K classes."""

    data: str  # the source, as --data names it
    images: int
    accuracy: float  # 0..1
    loss: float  # nats
    class_names: tuple[str, ...]
    per_class_accuracy: tuple[float, ...]  # (K,), 0..1
    confusion: NDArray[np.int64]  # (K, K), row the true class, column the predicted one


@dataclass(frozen=True)
class Mistakes:
    """The misclassified images of a report, N of them, the most confident mistake first."""

    images: NDArray[np.uint8]  # (N, S, S, 3)
    index: NDArray[np.int64]  # (N,) in the test set
    true: NDArray[np.int64]  # (N,)
    predicted: NDArray[np.int64]  # (N,)
    confidence: NDArray[np.float32]  # (N,) probability of the predicted class
    true_probability: NDArray[np.float32]  # (N,) probability of the true class

    def __len__(self) -> int:
        return len(self.index)

    def take(self, positions: NDArray[np.int64]) -> Mistakes:
        """The mistakes at these positions, in this order."""
        return Mistakes(**{name: column[positions] for name, column in vars(self).items()})


def read_report(folder: Path) -> Report | None:
    """The report in a folder, None where there is none; InputError if it is damaged."""
    path = folder / REPORT_FILE
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(str(name) for name in values["class_names"])
        confusion = np.array(values["confusion_matrix"], dtype=np.int64)
        if confusion.shape != (len(names), len(names)):
            raise ValueError(f"a {confusion.shape} confusion matrix of {len(names)} classes")
        return Report(
            data=str(values["data"]),
            images=int(values["images"]),
            accuracy=float(values["accuracy"]),
            loss=float(values["loss"]),
            class_names=names,
            per_class_accuracy=tuple(float(values["per_class_accuracy"][n]) for n in names),
            confusion=confusion,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def read_mistakes(folder: Path) -> Mistakes | None:
    """The misclassified images of a report, None without a report; InputError if damaged."""
    path = folder / MISTAKES_FILE
    if not path.is_file():
        return None
    try:
        column_names = [field.name for field in fields(Mistakes)]
        with np.load(path, allow_pickle=False) as columns:
            return Mistakes(**{name: columns[name] for name in column_names})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} can't be used: {error}; write it again with jobs.evaluate")
