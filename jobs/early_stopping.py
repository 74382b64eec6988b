"""Early stopping by ASHA (Li et al., arXiv:1810.05934), also in a search that was resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.schedulers import ASHAScheduler

from cifar_model.history import HISTORY, readable_history
from jobs.tune_trial import metrics_of


class ResumableASHA(ASHAScheduler):
    """ASHA that knows how trials did before the search was resumed.

    Tune stores a scheduler as it was before the first trial; those that come after `--resume` would
    have nobody to fall behind.

    trials: name of the folder of the trials' runs, beside Tune's own.
    """

    def __init__(self, trials: str, **options: Any) -> None:
        super().__init__(**options)
        self.trials = trials

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take note of a new trial, or of all epochs of an old one that Tune was told of."""
        super().on_trial_add(tune_controller, trial)
        told = (trial.last_result or {}).get("epoch", -1)
        # By where the search is now, for it may have been moved.
        runs = Path(trial.storage.storage_fs_path, self.trials)
        for record in readable_history(runs / trial.trial_id / HISTORY):
            if record.epoch <= told:
                self.on_trial_result(tune_controller, trial, metrics_of(record))
