"""The live table of a search: trial, status, learning rate, epoch, val accuracy, time; time to go.

On a terminal it is redrawn in place; in a log, such as that of a job that runs elsewhere, each
change is a line.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from typing import Any

from ray import tune
from rich.console import Console
from rich.live import Live
from rich.table import Table

COLUMNS = ("trial", "status", "learning rate", "epoch", "val accuracy", "seconds")
STATUS = {"PENDING": "starting", "RUNNING": "running", "TERMINATED": "ended", "ERROR": "failed"}


class TrialTable(tune.Callback):
    """Shows the trials whenever one of them changes.

    epochs: budget of a trial. total: number of trials. concurrent: how many run at a time.
    """

    def __init__(self, epochs: int, total: int, concurrent: int) -> None:
        self.epochs, self.total, self.concurrent = epochs, total, concurrent
        self.seconds_of_epochs: list[float] = []
        self.live: Live | None = None

    def setup(self, **info: Any) -> None:
        """Begin."""
        if sys.stdout.isatty():
            self.live = Live(console=Console(), auto_refresh=False)
            self.live.start()
            atexit.register(self.live.stop)  # gives the cursor back when Ctrl-C ends the search

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial begins, or goes on."""
        self._show(trials, trial)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial has ended an epoch."""
        self.seconds_of_epochs.append(float(result.get("time_this_iter_s", 0.0)))
        self._show(trials, trial)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has run its epochs, or was stopped early."""
        self._show(trials, trial, ended=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has failed."""
        self._show(trials, trial, ended=True)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """End."""
        if self.live:
            self.live.update(self._table(trials), refresh=True)
            self.live.stop()

    def get_state(self) -> dict[str, Any]:
        """Nothing that a resumed search needs."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        # Tune stores its callbacks; a terminal can't be.
        return {**vars(self), "live": None}

    def seconds_to_go(self, trials: Sequence[Any]) -> float | None:
        """An upper bound: as if no trial were stopped early; None before the first epoch."""
        if not self.seconds_of_epochs:
            return None
        recent = self.seconds_of_epochs[-20:]
        left = self.epochs * (self.total - len(trials))
        left += sum(
            self.epochs - _epochs(trial)
            for trial in trials
            if trial.status not in ("TERMINATED", "ERROR")
        )
        return left * sum(recent) / len(recent) / self.concurrent

    def _show(self, trials: list[Any], changed: Any, *, ended: bool = False) -> None:
        if self.live:
            self.live.update(self._table(trials), refresh=True)
            return
        cells = self._cells(changed, trials)
        if ended:
            cells[1] = "failed" if changed.status == "ERROR" else "ended"
        togo = self._to_go(trials)
        print(
            f"trial {cells[0]} of {self.total} {cells[1]}: learning rate {cells[2]}, "
            f"epoch {cells[3]}, val accuracy {cells[4]}, {cells[5]} s; {togo} to go",
            flush=True,
        )

    def _table(self, trials: list[Any]) -> Table:
        title = f"{len(trials)} of {self.total} trials, at most {self._to_go(trials)} to go"
        table = Table(*COLUMNS, title=title)
        for trial in trials:
            table.add_row(*self._cells(trial, trials))
        return table

    def _to_go(self, trials: list[Any]) -> str:
        seconds = self.seconds_to_go(trials)
        return "?" if seconds is None else f"{seconds / 60:.1f} min"

    def _cells(self, trial: Any, trials: list[Any]) -> list[str]:
        result = trial.last_result or {}
        accuracy = result.get("val_accuracy")
        return [
            str(trials.index(trial) + 1),
            STATUS.get(trial.status, trial.status.lower()),
            f"{trial.config['peak_lr']:.3g}",
            f"{_epochs(trial)}/{self.epochs}",
            "-" if accuracy is None else f"{accuracy:.4f}",
            f"{result.get('time_total_s', 0):.0f}",
        ]


def _epochs(trial: Any) -> int:
    return int((trial.last_result or {}).get("epoch", -1)) + 1
