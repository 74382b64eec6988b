"""Search for a better recipe on Ray Tune, around the learning rate that the range test suggests.

python -m jobs.tune --data digits --recipe digits --trials 8 --epochs 4 --name first

Population-based training is not offered: it needs checkpoints that Tune owns, and here the trials'
Ray Train runs own them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cifar_model.dataset import limit_train, split_for_training
from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import write_whole
from cifar_model.history import HISTORY, read_history
from cifar_model.recipe import RECIPES, Recipe, from_json, load_recipe
from cifar_model.run_plan import PRECISIONS, Precision, RunPlan, Sweep
from cifar_model.sources import SOURCES, load_source
from jobs import lr_find
from jobs.ray_training import MAX_FAILURES, WorkerLayout
from jobs.run_folder import held, run_folder
from jobs.search_space import LR, Dimension, band, centre, check_dimensions, parse_dimension
from jobs.stages import Stages
from jobs.storage import is_uri
from jobs.tune_report import REPORT, Trial, write_report
from jobs.tune_trial import TrialPlan, run_trial

REQUEST, TRIALS, EXPERIMENT = "tune.json", "trials", "tune"
# Read by Tune when it starts: a killed search must know of each trial that had begun.
TUNE_SETTINGS = {
    "TUNE_GLOBAL_CHECKPOINT_S": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",  # our own table takes its place
}
DECADES = 1.0


@dataclass(frozen=True)
class Search:
    """What was asked for: enough to resume. It is tune.json."""

    data: str
    image_size: int
    train_limit: int | None
    recipe: Recipe  # its epochs are the budget of a trial
    trials: int
    lr: float | None  # the middle of the band; None until the range test has said
    lr_band: tuple[float, float] | None  # None: a decade or so around lr
    decades: float
    dimensions: tuple[str, ...]  # --search, as given
    seed: int
    precision: Precision


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
    add("--data", default="digits", help=f"{SOURCES} (default: digits)")
    add("--recipe", default="seed", help=f"{', '.join(sorted(RECIPES))}, or a JSON file")
    add("--trials", type=int, default=12, help="how many (default: 12)")
    add("--epochs", type=int, help="of a trial that is not stopped (default: the recipe's)")
    add("--train-limit", type=int, help="use so many training images, a stratified draw")
    add("--image-size", type=int, default=32, help="side in pixels, a multiple of 8 (default: 32)")
    add("--seed", type=int, default=0, help="of training and of the search (default: 0)")
    add("--precision", choices=PRECISIONS, default="auto", help="as for jobs.train")
    add("--lr", help="middle of the band: a number or an lr_find.json (default: find it)")
    add("--lr-decades", type=float, default=DECADES, help="half width of the band (default: 1)")
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
    add("--concurrent", type=int, help="trials at a time (default: as many as fit)")
    add("--storage", default="runs", help="folder of all runs (default: runs)")
    add("--name", help="of this search, a folder in --storage (default: data, recipe and time)")
    add("--resume", action="store_true", help="go on with the unfinished search of that --name")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> Path:
    """The whole job; returns the report folder."""
    stages = Stages(time.time())
    layout = WorkerLayout(options.workers, options.cpus_per_worker, options.gpus_per_worker)
    layout.check()
    if options.workers < 1:
        raise InputError("--workers 0: trials run on Ray workers; expected 1 or more")
    if options.concurrent is not None and options.concurrent < 1:
        raise InputError(f"--concurrent {options.concurrent}: expected 1 or more")
    search, folder = settle(options)
    others = [parse_dimension(text) for text in search.dimensions]
    check_dimensions(search.recipe, others)
    stages.say(f"Reading {search.data}")
    dataset = load_source(search.data, image_size=search.image_size)
    if search.train_limit is not None:
        dataset = limit_train(dataset, search.train_limit, seed=search.seed)
    data = split_for_training(dataset)
    classes = len(dataset.class_names)
    if not options.resume:
        begin(folder, search)
    from jobs.connection import ray_cluster

    for name, value in TUNE_SETTINGS.items():
        os.environ.setdefault(name, value)
    stages.say("Starting Ray")
    with held(folder), ray_cluster(worker_output=False) as cluster:
        import ray

        if cluster.dashboard:
            stages.say(f"Ray is up, its dashboard at {cluster.dashboard}")
        concurrent, cpus, gpus = share(cluster.resources, layout, options.concurrent)
        ref = ray.put(data)
        if search.lr is None and search.lr_band is None:
            stages.say("Finding the learning rate to search around")
            plan = RunPlan(search.recipe, classes, search.seed, search.precision)
            alone = replace(layout, cpus_each=None).resources(cluster.resources)[0]
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
        stages.say(
            f"{search.trials} trials of {search.recipe.epochs} epochs, {concurrent} at a time, "
            f"learning rates from {dimensions[0].ends()[0]:.3g} to {dimensions[0].ends()[1]:.3g}; "
            f"tensorboard --logdir {folder / TRIALS}"
        )
        trials = search_on_tune(search, dimensions, trial_plan, ref, concurrent, folder)
    write_report(folder / REPORT, trials, search.recipe, search.lr)
    return folder / REPORT


def settle(options: argparse.Namespace) -> tuple[Search, Path]:
    """What to search and where."""
    if is_uri(options.storage):
        raise InputError(
            f"--storage {options.storage}: expected a folder that all workers can reach, such as "
            "one on NFS; the search keeps its own record there"
        )
    if options.resume:
        if options.name is None:
            raise InputError("--resume: say which search with --name")
        folder = run_folder(options.storage, options.name)
        return read_request(folder), folder
    if options.trials < 1:
        raise InputError(f"--trials {options.trials}: expected 1 or more")
    if not 0 < options.lr_decades <= 6:
        raise InputError(f"--lr-decades {options.lr_decades:g}: expected a number up to 6")
    recipe = load_recipe(options.recipe)
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    search = Search(
        data=options.data,
        image_size=options.image_size,
        train_limit=options.train_limit,
        recipe=recipe,
        trials=options.trials,
        lr=given_lr(options.lr) if options.lr else None,
        lr_band=given_band(options.lr_band) if options.lr_band else None,
        decades=options.lr_decades,
        dimensions=tuple(options.search),
        seed=options.seed,
        precision=options.precision,
    )
    if search.lr and search.lr_band:
        raise InputError("--lr and --lr-band: give one of them")
    kind = search.data.partition(":")[0]
    name = options.name or time.strftime(f"tune-{kind}-{recipe.name}-%Y%m%d-%H%M%S")
    return search, run_folder(options.storage, name)


def given_lr(text: str) -> float:
    """--lr: a positive number, or the suggestion in an lr_find.json."""
    try:
        value = float(text)
    except ValueError:
        try:
            found = json.loads(Path(text).read_text(encoding="utf-8"))["suggestion"]
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"--lr {text}: neither a number nor an {lr_find.RESULT}") from None
        if found is None:
            raise InputError(f"--lr {text}: that range test suggested none") from None
        value = float(found)
    if not 0 < value < math.inf:
        raise InputError(f"--lr {text}: expected a positive number")
    return value


def given_band(text: str) -> tuple[float, float]:
    """--lr-band: LO:HI."""
    match = re.fullmatch(r"([^:]+):([^:]+)", text)
    try:
        lo, hi = (float(part) for part in match.groups()) if match else (math.nan, math.nan)
    except ValueError:
        lo = hi = math.nan
    if math.isnan(lo) or math.isnan(hi):
        raise InputError(f"--lr-band {text}: expected LO:HI, two numbers")
    band("--lr-band", LR, lo, hi, log=True)
    return lo, hi


def lr_dimension(search: Search) -> Dimension:
    """The band of learning rates."""
    if search.lr_band:
        return band("--lr-band", LR, *search.lr_band, log=True)
    assert search.lr is not None
    factor = 10**search.decades
    return band("--lr", LR, search.lr / factor, search.lr * factor, log=True)


def begin(folder: Path, search: Search) -> None:
    """Claim the folder for a new search."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(
            f"{folder} is there already; add --resume to go on with a search, "
            "or choose another --name"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_request(folder, search)
    except OSError as error:
        raise InputError(f"--storage: can't write to {folder}: {error}") from error


def write_request(folder: Path, search: Search) -> None:
    """Write tune.json."""
    write_whole(folder / REQUEST, (json.dumps(asdict(search), indent=2) + "\n").encode())


def read_request(folder: Path) -> Search:
    """The search that an unfinished folder is about."""
    if (folder / REPORT).exists():
        raise InputError(f"search {folder.name!r} has ended: see {folder / REPORT}")
    path = folder / REQUEST
    if not path.is_file():
        raise InputError(f"--resume: no search {folder.name!r} in {folder.parent} (no {REQUEST})")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        band_given = values["lr_band"]
        return Search(
            **{
                **values,
                "recipe": from_json(values["recipe"]),
                "lr_band": tuple(band_given) if band_given else None,
                "dimensions": tuple(values["dimensions"]),
            }
        )
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"--resume: {path} can't be used: {error}") from error


def share(
    cluster: dict[str, float], layout: WorkerLayout, concurrent: int | None
) -> tuple[int, int, float]:
    """Trials at a time, and cores and GPUs of each worker.

    No more trials at a time than fit: the others wait their turn.
    """
    cpus, gpus = replace(layout, cpus_each=layout.cpus_each or 1).resources(cluster)
    fit = int(cluster.get("CPU", 1)) // (cpus * layout.workers)
    if gpus:
        fit = min(fit, int(cluster.get("GPU", 0) / (gpus * layout.workers)))
    return min(concurrent or fit, fit) or 1, cpus, gpus


def find_lr(plan: RunPlan, data: Any, workers: int, cpus: int, gpus: float, folder: Path) -> float:
    """The range test's suggestion; its JSON and plot stay in the search's folder."""
    found = lr_find.find_on_ray(plan, data, Sweep(), workers, cpus, gpus, folder)
    lr_find.write(folder, {"recipe": plan.recipe.name, "seed": plan.seed, **found})
    if found["problem"]:
        raise InputError(f"no learning rate found: {found['problem']}; give one with --lr")
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
    from jobs.tune_record import KeepCopy, mend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # A trial's driver only waits for its workers; with a share of a core for each driver, the last
    # worker would find none whole. Something Tune must be told, so it is a little memory.
    trainable = tune.with_resources(
        tune.with_parameters(run_trial, plan=plan, data=[data]), {"CPU": 0, "memory": 1 << 20}
    )
    epochs = search.recipe.epochs
    experiment = folder / EXPERIMENT
    if mend(experiment):
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
                callbacks=[TrialTable(epochs, search.trials, concurrent), KeepCopy(experiment)],
            ),
        )
    results = tuner.fit()
    return [
        Trial(
            id=result.metrics["trial_id"],
            values=result.config,
            history=read_history(plan.folder / result.metrics["trial_id"] / HISTORY),
            failure=" ".join(str(result.error).split()[-60:]) if result.error else None,
            epochs=epochs,
        )
        for result in results
    ]


def first_point(search: Search, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The first trial: the found learning rate, and the recipe's own values."""
    base = search.recipe if search.lr is None else replace(search.recipe, peak_lr=search.lr)
    return centre(base, dimensions)


if __name__ == "__main__":
    main()
