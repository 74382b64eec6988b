"""Train a classifier on Ray workers, or in this process with --workers 0, and export it.

python -m jobs.train --data digits --recipe digits --workers 2 --storage runs --name first
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path

from cifar_model.batch_plan import check_share
from cifar_model.cores import usable_cores
from cifar_model.data_record import DataRecord
from cifar_model.dataset import ImageDataset, TrainingData, limit_train, split_for_training
from cifar_model.errors import one_line_errors
from cifar_model.listing import ListedDataset
from cifar_model.recipe import DEFAULT_RECIPE, RECIPES
from cifar_model.run_plan import PRECISIONS, RunPlan, validation_batch_size
from cifar_model.sources import IMAGE_SIDE, SOURCES, list_source, load_to_split
from jobs import run_folder as runs
from jobs import storage
from jobs.connection import connected
from jobs.export import export_run
from jobs.held_folder import held
from jobs.in_process import fit_in_process
from jobs.interruption import interruptible, layout_words
from jobs.ray_training import fit_on_ray
from jobs.run_folder import RunRequest
from jobs.stages import Stages
from jobs.streaming import stream_for_training
from jobs.train_request import layout_of, settle


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    with one_line_errors("jobs.train"):
        print(train(options))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options as typed; those left out that decide the result are None, for `--resume`."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.train",
        description="Train a classifier on Ray and export it as a model folder. "
        "The last line printed is that folder.",
    )
    add = parser.add_argument
    add("--data", help=f"{SOURCES} (default: digits)")
    add(
        "--stream",
        action="store_true",
        help="read images as they are needed, for data larger than memory: folder:PATH, "
        "parquet:PATH or a parquet cifar10",
    )
    add(
        "--recipe",
        help=f"{', '.join(sorted(RECIPES))}, or a JSON file (default: {DEFAULT_RECIPE})",
    )
    add("--epochs", type=int, help="passes over the training images (default: the recipe's)")
    add(
        "--batch-size",
        type=int,
        help="images a step over all workers; learning rates follow by the rule in "
        "cifar_model/batch_scaling.py; an epoch's last step may have half as many more (default: "
        "the recipe's)",
    )
    add("--train-limit", type=int, help="use so many training images, a stratified draw by --seed")
    add("--image-size", type=int, help=f"{IMAGE_SIDE} (default: 32)")
    add("--seed", type=int, help="of initialisation, order and augmentation (default: 0)")
    add(
        "--precision",
        choices=PRECISIONS,
        help="auto: bf16 where the hardware has it, else float32 (default: auto)",
    )
    add(
        "--compile",
        action="store_true",
        help="torch.compile the network: takes most of a minute at the start, for long runs",
    )
    add(
        "--workers",
        type=int,
        help="Ray Train workers; 0 trains in this process, without Ray (default: 2, or 1 where "
        "there is one GPU)",
    )
    add(
        "--cpus-per-worker",
        type=int,
        help="cores, and threads, of each worker (default: all cores over the workers)",
    )
    add(
        "--gpus-per-worker",
        type=float,
        help="GPUs of each worker (default: 1 if the cluster has any, else 0)",
    )
    add(
        "--sync-norms",
        action="store_true",
        help="batch norm over all workers' images: the same run on any number of workers, if the "
        "recipe has no dropout and no albumentations, which draw on each worker",
    )
    add(
        "--min-workers",
        type=int,
        help="elastic: start, and go on after a loss, with as few as this (default: --workers)",
    )
    add(
        "--storage",
        default="runs",
        help="folder of all runs, or a URI: s3://bucket/runs, gs://bucket/runs (default: runs)",
    )
    add("--name", help="of this run, a folder in --storage (default: data, recipe and time)")
    add("--resume", action="store_true", help="go on with the unfinished run of that --name")
    return parser.parse_args(arguments)


def train(options: argparse.Namespace) -> Path | str:
    """Run the whole job and return the exported model's folder, as a URI if --storage is one."""
    with ExitStack() as stack:
        return _train(options, stack)


def _train(options: argparse.Namespace, stack: ExitStack) -> Path | str:
    stages = Stages(time.time())
    request, folder, begun_on = settle(options)
    layout = layout_of(options, request)
    layout.check()
    uri = storage.join(options.storage, folder.name) if storage.is_uri(options.storage) else None
    stages.say(f"Reading {request.data}")
    dataset = _read(request)
    fingerprint = dataset.fingerprint()
    if begun_on is not None:
        runs.check_data("run", request.data, fingerprint, begun_on)
    if isinstance(dataset, ListedDataset):
        stack.enter_context(connected(stages))
        stages.say(f"Reading all {len(dataset.train):,} training images for their mean and spread")
        data = stream_for_training(dataset, request.image_size)
        test_fingerprint = dataset.test_fingerprint()
    else:
        data, test_fingerprint = split_for_training(dataset), dataset.test.fingerprint()
    class_names, test_images = dataset.class_names, len(dataset.test)
    del dataset  # its images have been copied
    plan = RunPlan(
        request.recipe,
        len(class_names),
        request.seed,
        request.precision,
        options.compile,
        sync_norms=request.sync_norms,
    )
    batch_size, workers = request.recipe.batch_size, max(1, layout.workers)
    check_share(len(data.train), batch_size, workers, "training images")
    check_share(len(data.val), validation_batch_size(request.recipe), workers, "validation images")
    # Of a run at a URI, what is beside the copy that is fetched anew: as far as this machine knows.
    place = folder.parent if uri else folder
    if begun_on is None:
        with held(place) if uri else nullcontext():
            runs.begin(folder, request, fingerprint)
            if uri:
                storage.push(folder, uri)
    go_on = ["--resume", "--storage", options.storage, "--name", folder.name]
    go_on += layout_words(options, "workers", "min_workers", "cpus_per_worker", "gpus_per_worker")
    if options.compile:
        go_on += ["--compile"]
    with interruptible("jobs.train", *go_on), held(place, below=uri is None):
        if uri is None:  # another command may have ended it while the data were read
            runs.check_unfinished(folder)
        # A run may have been killed after its last epoch, before its model was written.
        if uri or runs.epochs_done(folder) < request.recipe.epochs:
            if request.in_process:
                threads = options.cpus_per_worker or usable_cores()
                fit_in_process(plan, data, folder, threads, stages)
            else:
                fit_on_ray(plan, data, folder, layout, stages, uri)
        record = DataRecord(
            source=request.data,
            fingerprint=fingerprint,
            train_images=len(data.train),
            val_images=len(data.val),
            test_images=test_images,
            test_fingerprint=test_fingerprint,
        )
        return _export(folder, uri, plan, class_names, data, record, stages)


def _export(
    folder: Path,
    uri: str | None,
    plan: RunPlan,
    class_names: tuple[str, ...],
    data: TrainingData,
    record: DataRecord,
    stages: Stages,
) -> Path | str:
    """The model of the last checkpoint, in its place."""
    stages.say("Exporting the model")
    checkpoint = runs.last_checkpoint(folder, uri, plan.recipe.epochs, stages.say)
    if uri:  # of a model that was sent up in part, fetched with the rest of the run
        shutil.rmtree(folder / runs.MODEL, ignore_errors=True)
    model = export_run(folder, plan, class_names, data, record, checkpoint, stages.say)
    if uri is None:
        return model
    storage.push(model, storage.join(uri, runs.MODEL))
    shutil.rmtree(checkpoint.parent.parent, ignore_errors=True)  # it was fetched to export from
    return storage.join(uri, runs.MODEL)


def _read(request: RunRequest) -> ImageDataset | ListedDataset:
    """The data set, its training images limited as asked for."""
    data, limit, size, seed = request.data, request.train_limit, request.image_size, request.seed
    if not request.stream:
        return load_to_split(data, limit, seed=seed, image_size=size)
    listed = list_source(data, image_size=size)
    return listed if limit is None else limit_train(listed, limit, seed=seed)


if __name__ == "__main__":
    main()
