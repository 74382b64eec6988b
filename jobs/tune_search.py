"""The trials of a search, proposed, run and stopped early by Ray Tune."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_model.errors import InputError
from jobs.connection import is_local
from jobs.ray_training import MAX_FAILURES, failure_reason
from jobs.search_space import Dimension, centre
from jobs.tune_report import Trial
from jobs.tune_request import Search
from jobs.tune_trial import TrialPlan, epochs_of, forget_failures, run_trial

if TYPE_CHECKING:
    from ray.tune import Tuner

EXPERIMENT = "tune"  # Tune's own folder, in the search's


def search_on_tune(
    search: Search,
    dimensions: Sequence[Dimension],
    plan: TrialPlan,
    data: Any,
    concurrent: int,
    folder: Path,
) -> list[Trial]:
    """Run all trials that have not ended yet; returns what became of each."""
    import optuna
    import ray
    from ray import tune
    from ray.tune.error import TuneError

    from jobs.tune_record import put_back

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Tune counts the reports of a trial from 1 again when it goes on after a kill.
    warnings.filterwarnings("ignore", "The reported value is ignored because this `step`")
    # A trial's driver only waits for its workers; with a share of a core for each driver, the last
    # worker would find none whole. On this machine its share of the memory bounds how many start:
    # Tune's own limit lets all pass that are tried again. A cluster may yet grow.
    memory = int(ray.cluster_resources()["memory"] / concurrent) if is_local() else 1 << 20
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, plan=plan, data=[data]), {"CPU": 0, "memory": memory}
    )
    experiment = folder / EXPERIMENT
    if put_back(experiment):
        forget_failures(plan.folder)
        # It is told of trials that had failed and are tried again, and takes no notice.
        logging.getLogger("ray.tune.search.optuna").setLevel(logging.ERROR)
        tuner = tune.Tuner.restore(str(experiment), trainable, resume_errored=True)
    else:
        tuner = new_tuner(search, dimensions, trainable, concurrent, folder, plan.folder.name)
    try:
        results = tuner.fit()
    except TuneError as error:
        raise InputError(
            f"the search stopped: {failure_reason(error)}; when the cause is gone, go on with "
            "--resume"
        ) from error
    # A result's own `config` is that of the trial's last report: none if the trial failed before
    # one and the search was resumed since.
    trials = results._experiment_analysis.trials
    return [
        Trial(
            id=trial.trial_id,
            values=trial.config,
            history=epochs_of(plan.folder / trial.trial_id, trial.last_result or {}),
            failure=" ".join(str(result.error).split()[-60:]) if result.error else None,
            epochs=search.recipe.epochs,
        )
        for trial, result in zip(trials, results, strict=True)
    ]


def new_tuner(
    search: Search,
    dimensions: Sequence[Dimension],
    trainable: Any,
    concurrent: int,
    folder: Path,
    trials: str,
) -> Tuner:
    """A search that begins: Optuna proposes, ASHA stops early.

    trials: name of the folder of the trials' runs, in the search's.
    """
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    from jobs.early_stopping import ResumableASHA
    from jobs.trial_table import TrialTable
    from jobs.tune_record import KeepRecord

    epochs = search.recipe.epochs
    return tune.Tuner(
        trainable,
        param_space={dimension.field: dimension.domain() for dimension in dimensions},
        tune_config=tune.TuneConfig(
            metric="val_accuracy",
            mode="max",
            num_samples=search.trials,
            max_concurrent_trials=concurrent,
            search_alg=OptunaSearch(
                points_to_evaluate=[first_point(search, dimensions)], seed=search.seed
            ),
            # Epochs count from 0, so a trial never reaches `epochs` and ends by itself.
            scheduler=ResumableASHA(
                trials, time_attr="epoch", max_t=epochs, grace_period=max(1, epochs // 3)
            ),
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(folder),
            verbose=0,
            # Of a trial's own process; failures of its workers are dealt with there.
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[TrialTable(epochs, search.trials, concurrent), KeepRecord()],
        ),
    )


def first_point(search: Search, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The first trial: the found learning rate, and the recipe's own values."""
    base = search.recipe if search.lr is None else replace(search.recipe, peak_lr=search.lr)
    return centre(base, dimensions)
