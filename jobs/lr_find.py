"""Find a learning rate for a recipe and data by a range test.

python -m jobs.lr_find --data digits --recipe digits --out lr
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cifar_model.batch_plan import check_share
from cifar_model.cores import usable_cores
from cifar_model.dataset import TrainingData, split_for_training
from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import scratch_folder, write_json
from cifar_model.given_path import given_path
from cifar_model.recipe import DEFAULT_RECIPE, RECIPES, recipe_for
from cifar_model.run_plan import PRECISIONS, RunPlan, Sweep, check_seed
from cifar_model.sources import IMAGE_SIDE, SOURCES, load_to_split
from jobs.held_folder import held
from jobs.interruption import interruptible
from jobs.ray_training import (
    WorkerTask,
    ray_placement,
    readable_failure,
    started_ray,
    torch_trainer,
)
from jobs.stages import Stages
from jobs.worker_layout import WorkerLayout

RESULT, PLOT = "lr_find.json", "lr_find.png"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    defaults = Sweep()
    parser = argparse.ArgumentParser(
        prog="python -m jobs.lr_find",
        description="Sweep the learning rate over a fresh network and suggest one. Writes "
        f"{RESULT} (points, suggestion, rule) and {PLOT}. The last line printed is their folder.",
    )
    add = parser.add_argument
    add("--data", default="digits", help=f"{SOURCES} (default: digits)")
    names = f"{', '.join(sorted(RECIPES))}, or a JSON file"
    add("--recipe", help=f"{names} (default: {DEFAULT_RECIPE})")
    add("--train-limit", type=int, help="use so many training images, a stratified draw by --seed")
    add("--image-size", type=int, default=32, help=f"{IMAGE_SIDE} (default: 32)")
    add("--seed", type=int, default=0, help="of initialisation, order, augmentation (default: 0)")
    add("--precision", choices=PRECISIONS, default="auto", help="as for jobs.train")
    add("--min-lr", type=float, default=defaults.min_lr, help="first rate (default: 1e-5)")
    add("--max-lr", type=float, default=defaults.max_lr, help="last rate (default: 10)")
    add(
        "--steps",
        type=int,
        default=defaults.steps,
        help="rates from lowest to highest (default: 100)",
    )
    add("--workers", type=int, default=0, help="Ray Train workers; 0: this process (default: 0)")
    add("--cpus-per-worker", type=int, help="cores of each (default: all over the workers)")
    add("--gpus-per-worker", type=float, help="GPUs of each (default: 1 if there are any)")
    add("--out", default="lr_find", help="folder to write (default: lr_find)")
    options = parser.parse_args(arguments)
    with one_line_errors("jobs.lr_find"):
        print(run(options))


def run(options: argparse.Namespace) -> Path:
    """The whole job; returns the folder of its files."""
    stages = Stages(time.time())
    out = given_path(options.out)
    check_new(out)
    sweep = Sweep(options.min_lr, options.max_lr, options.steps)
    layout = WorkerLayout(options.workers, options.cpus_per_worker, options.gpus_per_worker)
    layout.check()
    check_seed(options.seed)
    recipe = recipe_for(options.data, options.recipe)
    stages.say(f"Reading {options.data}")
    dataset = load_to_split(
        options.data, options.train_limit, seed=options.seed, image_size=options.image_size
    )
    plan = RunPlan(recipe, len(dataset.class_names), options.seed, options.precision)
    data = split_for_training(dataset)
    del dataset  # its images have been copied
    check_share(len(data.train), recipe.batch_size, max(1, layout.workers), "training images")
    claim(out)
    with interruptible("jobs.lr_find"), held(out):
        check_new(out)  # another command may have written there while the data were read
        found = find(plan, data, sweep, layout, out, stages)
        write(out, {"data": options.data, "recipe": recipe.name, "seed": options.seed, **found})
    if found["problem"]:
        seen = out / (PLOT if found["points"] else RESULT)
        raise InputError(f"no learning rate suggested: {found['problem']} (see {seen})")
    print(f"Suggested learning rate: {found['suggestion']:.3g}")
    return out


def check_new(out: Path) -> None:
    """InputError if a range test has written there."""
    if (out / RESULT).exists():
        raise InputError(f"{out / RESULT} exists; choose another --out")


def claim(out: Path) -> None:
    """Make the folder; InputError if it can't be written to."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()  # a folder that is there may be read-only
    except OSError as error:
        raise InputError(f"--out: can't write to {out}: {error}") from error


def find(
    plan: RunPlan,
    data: TrainingData,
    sweep: Sweep,
    layout: WorkerLayout,
    out: Path,
    stages: Stages,
) -> dict[str, Any]:
    """Run the test here, or on Ray workers; returns `RangeTest.to_json()`.

    out: a folder that every worker can reach.
    """
    if layout.workers == 0:
        stages.say(f"Sweeping {sweep.steps} rates from {sweep.min_lr:g} to {sweep.max_lr:g}")
        from cifar_model.lr_finder import range_test
        from cifar_model.training import quiet_lightning

        quiet_lightning()
        threads = layout.cpus_each or usable_cores()
        return range_test(plan, data, sweep, threads=threads).to_json()
    with started_ray(layout, stages) as (layout, cpus, gpus):
        return find_on_ray(plan, data, sweep, layout.workers, cpus, gpus, out)


def find_on_ray(
    plan: RunPlan,
    data: Any,
    sweep: Sweep,
    workers: int,
    cpus: int,
    gpus: float,
    out: Path,
) -> dict[str, Any]:
    """The same on a Ray that is connected.

    data: a TrainingData or an ObjectRef of one.
    """
    import ray

    if isinstance(data, TrainingData):
        data = ray.put(data)
    with scratch_folder(out / "range-test") as aside:
        task = WorkerTask(plan, data, aside, cpus, time.time(), sweep)
        with readable_failure("range test", "when the cause is gone, try again"):
            result = torch_trainer(sweep_worker, task, WorkerLayout(workers), gpus).fit()
        return result.return_value  # of the first worker


def sweep_worker(config: dict[str, WorkerTask]) -> dict[str, Any]:
    """One Ray Train worker of a range test: all find the same."""
    import ray
    from ray.train.lightning import prepare_trainer

    from cifar_model.lr_finder import range_test

    task = config["task"]
    assert task.sweep is not None
    return range_test(
        task.plan,
        ray.get(task.data),
        task.sweep,
        ray_placement(task),
        threads=task.threads,
        prepare=prepare_trainer,
    ).to_json()


def write(out: Path, found: dict[str, Any]) -> None:
    """The JSON and the plot."""
    import numpy as np

    from cifar_model import plots

    points = found["points"]
    if points:
        plots.range_test(
            out / PLOT,
            [point["lr"] for point in points],
            [point["loss"] for point in points],
            np.array([point["smoothed_loss"] for point in points]),
            found["suggestion"],
        )
    write_json(out / RESULT, found)


if __name__ == "__main__":
    main()
