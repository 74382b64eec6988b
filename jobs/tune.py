"""Search for a better recipe on Ray Tune, around the learning rate that the range test suggests.

python -m jobs.tune --data digits --recipe digits --trials 8 --epochs 4 --name search

Population-based training is not offered: it needs checkpoints that Tune owns, and here the trials'
Ray Train runs own them.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_model.batch_plan import check_share
from cifar_model.dataset import TrainingData, split_for_training
from cifar_model.errors import InputError, one_line_errors
from cifar_model.recipe import DEFAULT_RECIPE, RECIPES
from cifar_model.run_plan import PRECISIONS, RunPlan, Sweep
from cifar_model.sources import IMAGE_SIDE, SOURCES, load_to_split
from jobs import lr_find
from jobs.connection import Cluster, connected, is_local
from jobs.held_folder import held
from jobs.interruption import interruptible, layout_words
from jobs.run_folder import check_data, check_free
from jobs.search_space import LR, Dimension, band, check_dimensions, parse_dimension
from jobs.stages import Stages
from jobs.tune_report import REPORT, Trial, best_of, write_report
from jobs.tune_request import Search, begin, check_unfinished, settle, write_request
from jobs.tune_search import search_on_tune
from jobs.tune_trial import TrialPlan, has_diverged
from jobs.worker_layout import WorkerLayout, room

TRIALS = "trials"
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
    add("--train-limit", type=int, help="use so many training images, a stratified draw by --seed")
    add("--image-size", type=int, help=f"{IMAGE_SIDE} (default: 32)")
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
    search, data, classes = read(search)
    sizes = [size for part in others if part.field == "batch_size" for size in part.ends()]
    for size in (search.recipe.batch_size, *sizes):
        check_share(len(data.train), size, layout.workers, "training images")
        check_share(len(data.val), size, layout.workers, "validation images")
    if not options.resume:
        begin(folder, search)
    for name, value in TUNE_SETTINGS.items():
        os.environ.setdefault(name, value)
    go_on = ["--resume", "--storage", folder.parent, "--name", folder.name]
    go_on += layout_words(options, "workers", "cpus_per_worker", "gpus_per_worker")
    with interruptible("jobs.tune", *go_on), held(folder, below=True):
        check_unfinished(folder)  # another command may have ended it while the data were read
        with connected(stages, worker_output=False) as cluster:
            search, trials = search_on(
                cluster, search, others, data, classes, layout, folder, stages
            )
        check_final(folder, trials)
        write_report(folder / REPORT, trials, search.recipe, search.lr)
    return folder / REPORT


def read(search: Search) -> tuple[Search, TrainingData, int]:
    """The data and the number of classes, and the search with the data's fingerprint.

    InputError if they are not what a resumed search was begun on.
    """
    dataset = load_to_split(
        search.data, search.train_limit, seed=search.seed, image_size=search.image_size
    )
    fingerprint = dataset.fingerprint()
    if search.fingerprint:
        check_data("search", search.data, fingerprint, search.fingerprint)
    data, classes = split_for_training(dataset), len(dataset.class_names)
    return replace(search, fingerprint=fingerprint), data, classes


def search_on(
    cluster: Cluster,
    search: Search,
    others: Sequence[Dimension],
    data: TrainingData,
    classes: int,
    layout: WorkerLayout,
    folder: Path,
    stages: Stages,
) -> tuple[Search, list[Trial]]:
    """Find the learning rate if there is none yet, and run all trials that have not ended.

    others: what is varied beside the learning rate.
    Returns the search with that rate, and what became of each trial.
    """
    import ray

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
    return search, search_on_tune(search, dimensions, trial_plan, ref, concurrent, folder)


def check_final(folder: Path, trials: Sequence[Trial]) -> None:
    """InputError if trials failed for something that may pass, which leaves the search unfinished.

    A trial that fails by itself does not keep the others from their report.
    """
    failed = [
        t for t in trials if t.failure is not None and not has_diverged(folder / TRIALS / t.id)
    ]
    if not failed:
        return
    if best_of(trials) is None:
        reasons = sorted({str(trial.failure) for trial in failed})
        raise InputError(
            f"{len(failed)} of {len(trials)} trials failed, and none reached its last epoch: "
            f"{'; '.join(reasons)}; when the cause is gone, go on with --resume"
        )
    check_free(folder, "a trial", remedy="then go on with --resume")


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
    wanted = min(search.concurrent or fit, search.trials)
    if gpus and layout.cpus_each is None:
        # GPUs decide how many trials fit; the cores are there to feed them.
        workers = min(wanted, fit) * layout.workers
        cpus, gpus = replace(layout, workers=workers).resources(nodes)
    return min(wanted, fit) if is_local() else wanted, cpus, gpus


def find_lr(plan: RunPlan, data: Any, workers: int, cpus: int, gpus: float, folder: Path) -> float:
    """The range test's suggestion; its JSON and plot stay in the search's folder."""
    found = lr_find.find_on_ray(plan, data, Sweep(), workers, cpus, gpus, folder)
    lr_find.write(folder, {"recipe": plan.recipe.name, "seed": plan.seed, **found})
    if found["problem"]:
        raise InputError(
            f"no learning rate found: {found['problem']}; give one with --lr, and another --name"
        )
    return float(found["suggestion"])


if __name__ == "__main__":
    main()
