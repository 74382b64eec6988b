"""Search for a better recipe on Ray Tune, around the learning rate that the range test suggests.

python -m jobs.tune --data digits --recipe digits --trials 8 --epochs 4 --name search

Population-based training is not offered: it needs checkpoints that Tune owns, and here the trials'
Ray Train runs own them.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_model.batch_plan import check_share
from cifar_model.dataset import limit_train, split_for_training
from cifar_model.errors import InputError, one_line_errors
from cifar_model.history import HISTORY, read_history
from cifar_model.recipe import DEFAULT_RECIPE, RECIPES
from cifar_model.run_plan import PRECISIONS, RunPlan, Sweep
from cifar_model.sources import SOURCES, load_source
from jobs import lr_find
from jobs.connection import is_local, ray_cluster
from jobs.interruption import interruptible, layout_words
from jobs.ray_training import MAX_FAILURES
from jobs.run_folder import check_data, held
from jobs.search_space import LR, Dimension, band, centre, check_dimensions, parse_dimension
from jobs.stages import Stages
from jobs.tune_report import REPORT, Trial, write_report
from jobs.tune_request import Search, begin, check_unfinished, settle, write_request
from jobs.tune_trial import TrialPlan, run_trial
from jobs.worker_layout import WorkerLayout, room

TRIALS, EXPERIMENT = "trials", "tune"
# Read by Tune when it starts: a killed search must know of each trial that had begun.
TUNE_SETTINGS = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # our own table takes its place
    # It would return from an interrupted search as from one that has ended.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    with one_line_errors("jobs.tune"):
        print(run(options))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.tune",
        description="Search for a better recipe. Each trial trains as jobs.train would; those that "
        "fall behind are stopped early (ASHA), Optuna proposes the next. "
        "The last line printed is the report folder, whose recipe.json jobs.train takes.",
    )
    add = parser.add_argument
    add("--data", help=f"{SOURCES} (default: digits)")
    add(
        "--recipe",
        help=f"{', '.join(sorted(RECIPES))}, or a JSON file (default: {DEFAULT_RECIPE})",
    )
    add("--trials", type=int, help="how many (default: 12)")
    add("--epochs", type=int, help="of a trial that is not stopped (default: the recipe's)")
    add("--train-limit", type=int, help="use so many training images, a stratified draw")
    add("--image-size", type=int, help="side in pixels, a multiple of 8 (default: 32)")
    add("--seed", type=int, help="of training and of the search (default: 0)")
    add("--precision", choices=PRECISIONS, help="as for jobs.train (default: auto)")
    add("--lr", help="middle of the band: a number or an lr_find.json (default: find it)")
    add("--lr-decades", type=float, help="half width of the band (default: 1)")
    add("--lr-band", help="LO:HI instead, in learning rates; nothing is found first")
    add(
        "--search",
        action="append",
        default=[],
        metavar="FIELD=LO:HI[:log]|VALUE,…",
        help="another field of the recipe to vary; may be given several times",
    )
    add("--workers", type=int, default=1, help="Ray Train workers of each trial (default: 1)")
    add("--cpus-per-worker", type=int, help="cores of each worker (default: 1)")
    add("--gpus-per-worker", type=float, help="GPUs of each worker (default: 1 if there are any)")
    add(
        "--concurrent",
        type=int,
        help="trials at a time (default: as many as fit when the search begins). On this machine "
        "never more than fit; on the cluster of RAY_ADDRESS as many as given, for one that grows: "
        "what doesn't fit yet waits",
    )
    add("--storage", default="runs", help="folder of all runs (default: runs)")
    add("--name", help="of this search, a folder in --storage (default: data, recipe and time)")
    add(
        "--resume",
        action="store_true",
        help="go on with the unfinished search of that --name, as it was asked for; only the "
        "number of workers and what they get may change",
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> Path:
    """The whole job; returns the report folder."""
    stages = Stages(time.time())
    layout = WorkerLayout(options.workers, options.cpus_per_worker, options.gpus_per_worker)
    layout.check()
    if options.workers < 1:
        raise InputError("--workers 0: trials run on Ray workers; expected 1 or more")
    search, folder = settle(options)
    others = [parse_dimension(text) for text in search.dimensions]
    check_dimensions(search.recipe, others)
    stages.say(f"Reading {search.data}")
    dataset = load_source(search.data, image_size=search.image_size)
    if search.train_limit is not None:
        dataset = limit_train(dataset, search.train_limit, seed=search.seed)
    fingerprint = dataset.fingerprint()
    if search.fingerprint:
        check_data("search", search.data, fingerprint, search.fingerprint)
    search = replace(search, fingerprint=fingerprint)
    data = split_for_training(dataset)
    check_share(len(data.train), search.recipe.batch_size, layout.workers, "training images")
    classes = len(dataset.class_names)
    if not options.resume:
        begin(folder, search)
    for name, value in TUNE_SETTINGS.items():
        os.environ.setdefault(name, value)
    stages.say("Starting Ray" if is_local() else "Connecting to the Ray cluster")
    go_on = ["--resume", "--storage", folder.parent, "--name", folder.name]
    go_on += layout_words(options, "workers", "cpus_per_worker", "gpus_per_worker")
    with interruptible("jobs.tune", *go_on), held(folder):
        check_unfinished(folder)  # another command may have ended it while the data were read
        with ray_cluster(worker_output=False) as cluster:
            import ray

            if cluster.dashboard:
                stages.say(f"Ray is up, its dashboard at {cluster.dashboard}")
            concurrent, cpus, gpus = share(cluster.nodes, layout, search)
            search = replace(search, concurrent=search.concurrent or concurrent)
            ref = ray.put(data)
            if search.lr is None and search.lr_band is None:
                stages.say("Finding the learning rate to search around")
                plan = RunPlan(search.recipe, classes, search.seed, search.precision)
                alone = layout.resources(cluster.nodes)[0]  # nothing else runs yet
                search = replace(search, lr=find_lr(plan, ref, layout.workers, alone, gpus, folder))
            write_request(folder, search)
            dimensions = [lr_dimension(search), *others]
            trial_plan = TrialPlan(
                base=search.recipe,
                num_classes=classes,
                seed=search.seed,
                precision=search.precision,
                folder=folder / TRIALS,
                workers=layout.workers,
                cpus=cpus,
                gpus=gpus,
            )
            lo, hi = dimensions[0].ends()
            stages.say(
                f"{search.trials} trials of {search.recipe.epochs} epochs, {concurrent} at a time, "
                f"learning rates from {lo:.3g} to {hi:.3g}; tensorboard --logdir {folder / TRIALS}"
            )
            trials = search_on_tune(search, dimensions, trial_plan, ref, concurrent, folder)
        write_report(folder / REPORT, trials, search.recipe, search.lr)
    return folder / REPORT


def lr_dimension(search: Search) -> Dimension:
    """The band of learning rates."""
    if search.lr_band:
        return band("--lr-band", LR, *search.lr_band, log=True)
    assert search.lr is not None
    factor = 10**search.decades
    return band("--lr", LR, search.lr / factor, search.lr * factor, log=True)


def share(
    nodes: Sequence[Mapping[str, float]], layout: WorkerLayout, search: Search
) -> tuple[int, int, float]:
    """Trials at a time, and cores and GPUs of each worker, on nodes with these resources.

    A trial that doesn't fit waits its turn, on a cluster that grows until it has grown.
    """
    cpus, gpus = replace(layout, cpus_each=layout.cpus_each or 1).resources(nodes)
    fit = max(1, room(nodes, cpus, gpus) // layout.workers)
    concurrent = search.concurrent or fit
    return min(concurrent, search.trials, fit if is_local() else concurrent), cpus, gpus


def find_lr(plan: RunPlan, data: Any, workers: int, cpus: int, gpus: float, folder: Path) -> float:
    """The range test's suggestion; its JSON and plot stay in the search's folder."""
    found = lr_find.find_on_ray(plan, data, Sweep(), workers, cpus, gpus, folder)
    lr_find.write(folder, {"recipe": plan.recipe.name, "seed": plan.seed, **found})
    if found["problem"]:
        raise InputError(
            f"no learning rate found: {found['problem']}; give one with --lr, and another --name"
        )
    return float(found["suggestion"])


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
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from jobs.trial_table import TrialTable
    from jobs.tune_record import KeepRecord, put_back

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Tune counts the reports of a trial from 1 again when it goes on after a kill.
    warnings.filterwarnings("ignore", "The reported value is ignored because this `step`")
    # A trial's driver only waits for its workers; with a share of a core for each driver, the last
    # worker would find none whole. Something Tune must be told, so it is a little memory.
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, plan=plan, data=[data]), {"CPU": 0, "memory": 1 << 20}
    )
    epochs = search.recipe.epochs
    experiment = folder / EXPERIMENT
    if put_back(experiment):
        tuner = tune.Tuner.restore(str(experiment), trainable)
    else:
        tuner = tune.Tuner(
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
                scheduler=ASHAScheduler(
                    time_attr="epoch", max_t=epochs, grace_period=max(1, epochs // 3)
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
    results = tuner.fit()
    # A result's own `config` is that of the trial's last report: none if the trial failed before
    # one and the search was resumed since.
    trials = results._experiment_analysis.trials
    return [
        Trial(
            id=trial.trial_id,
            values=trial.config,
            history=read_history(plan.folder / trial.trial_id / HISTORY),
            failure=" ".join(str(result.error).split()[-60:]) if result.error else None,
            epochs=epochs,
        )
        for trial, result in zip(trials, results, strict=True)
    ]


def first_point(search: Search, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The first trial: the found learning rate, and the recipe's own values."""
    base = search.recipe if search.lr is None else replace(search.recipe, peak_lr=search.lr)
    return centre(base, dimensions)


if __name__ == "__main__":
    main()
