"""What a search leaves for people and for jobs.train: the folder report/.

trials.csv            a line a trial: status, reason of failure, values, last metrics; all that
                      there is if no trial reached its last epoch
best.json             the winner
recipe.json           its recipe, for `jobs.train --recipe`
accuracy_by_lr.png  learning_curves.png  parallel_coordinates.png
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cifar_model.errors import InputError
from cifar_model.files import new_folder, write_json
from cifar_model.history import EpochRecord
from cifar_model.recipe import Recipe
from jobs.search_space import LR, recipe_of

REPORT, TABLE = "report", "trials.csv"


@dataclass(frozen=True)
class Trial:
    """How one trial went."""

    id: str
    values: Mapping[str, Any]
    history: Sequence[EpochRecord]
    failure: str | None  # why it failed; None if it didn't
    epochs: int  # the budget

    @property
    def trained(self) -> int:
        """How many epochs it got through, whether or not each is on record."""
        return self.history[-1].epoch + 1 if self.history else 0

    @property
    def status(self) -> str:
        """ended, stopped early, or failed"""
        if self.failure is not None:
            return "failed"
        return "ended" if self.trained == self.epochs else "stopped early"

    def row(self) -> dict[str, Any]:
        """Its line in trials.csv."""
        last = self.history[-1] if self.history else None
        return {
            "trial": self.id,
            "status": self.status,
            **self.values,
            "epochs": self.trained,
            "val_accuracy": last and last.val_accuracy,
            "val_loss": last and last.val_loss,
            "train_accuracy": last and last.train_accuracy,
            "seconds": round(sum(record.seconds for record in self.history), 1),
            "failure": self.failure or "",
        }


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The trial that ran all its epochs and has the highest val accuracy after the last."""
    ended = [trial for trial in trials if trial.status == "ended"]
    return max(ended, key=lambda trial: trial.history[-1].val_accuracy, default=None)


def write_report(
    folder: Path, trials: Sequence[Trial], base: Recipe, middle_lr: float | None
) -> None:
    """Write FOLDER; it appears whole.

    middle_lr: of the band that was searched, the range test's or --lr; None for a given band.
    InputError if no trial reached its last epoch.
    """
    best = best_of(trials)
    with new_folder(folder) as aside:
        write_table(aside / TABLE, trials)
        if best:
            write_winner(aside, best, trials, base, middle_lr)
            draw(aside, best, trials, middle_lr)
    if not best:
        reasons = {trial.failure for trial in trials if trial.failure} or {"none failed"}
        raise InputError(
            f"no trial reached its last epoch, see {folder / TABLE}: {'; '.join(sorted(reasons))}"
        )


def write_table(path: Path, trials: Sequence[Trial]) -> None:
    """Write trials.csv."""
    rows = [trial.row() for trial in trials]
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def write_winner(
    folder: Path, best: Trial, trials: Sequence[Trial], base: Recipe, middle_lr: float | None
) -> None:
    """Write best.json and recipe.json."""
    winner = replace(recipe_of(base, best.values), name=f"{base.name}-tuned")
    summary = {
        "trial": best.id,
        "val_accuracy": best.history[-1].val_accuracy,
        "values": dict(best.values),
        "epochs": best.epochs,
        "middle_lr": middle_lr,
        "trials": {
            status: sum(trial.status == status for trial in trials)
            for status in ("ended", "stopped early", "failed")
        },
    }
    write_json(folder / "best.json", summary)
    write_json(folder / "recipe.json", winner.to_json())


def draw(folder: Path, best: Trial, trials: Sequence[Trial], middle_lr: float | None) -> None:
    """Draw the three plots."""
    from cifar_model import plots

    trained = [trial for trial in trials if trial.history]
    plots.accuracy_by_lr(
        folder / "accuracy_by_lr.png",
        [(trial.values[LR], trial.history[-1].val_accuracy, trial.status) for trial in trained],
        middle_lr,
    )
    plots.trial_curves(
        folder / "learning_curves.png",
        [([record.val_accuracy for record in trial.history], trial is best) for trial in trained],
    )
    plots.parallel_coordinates(
        folder / "parallel_coordinates.png",
        [dict(trial.values) for trial in trained],
        [trial.history[-1].val_accuracy for trial in trained],
    )
