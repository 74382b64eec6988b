"""What a run is asked for: its options, checked, and with --resume against what is on record."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cifar_model.batch_scaling import with_batch_size
from cifar_model.errors import InputError
from cifar_model.recipe import load_recipe, recipe_for
from cifar_model.run_plan import check_seed
from jobs import run_folder as runs
from jobs import storage
from jobs.held_folder import held
from jobs.resumed_options import check_same
from jobs.run_folder import RunRequest
from jobs.worker_layout import WorkerLayout

DEFAULT_WORKERS = 2


def settle(options: argparse.Namespace) -> tuple[RunRequest, Path, str | None]:
    """What to run and where; with --resume also the fingerprint of the data it was begun on."""
    given = {
        name: getattr(options, name)
        for name in ("data", "image_size", "train_limit", "seed", "precision", "epochs")
        if getattr(options, name) is not None
    }
    given |= {name: True for name in ("sync_norms", "stream") if getattr(options, name)}
    if options.resume:
        return _on_record(options, given)
    return *_new(options, given), None


def layout_of(options: argparse.Namespace, request: RunRequest) -> WorkerLayout:
    """The workers and what each gets: as many as are asked for now, else as on record."""
    workers = request.workers if options.workers is None else options.workers
    return WorkerLayout(
        DEFAULT_WORKERS if workers is None else workers,
        options.cpus_per_worker,
        options.gpus_per_worker,
        options.min_workers,
        workers_given=workers is not None,
    )


def reach(place: str, name: str, *, in_process: bool) -> Path:
    """The run's folder; of a run on object storage a fresh copy of it."""
    folder = runs.run_folder(place, name)
    if storage.is_uri(place):
        if in_process:
            raise InputError(
                f"--storage {place}: expected a folder; a run without Ray (--workers 0) stays here"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held(folder.parent):  # not while a command of this machine is at work on its copy
            storage.pull(storage.join(place, name), folder)
        if not runs.has_ended(folder):  # a part of a model, sent up by one who was killed
            shutil.rmtree(folder / runs.MODEL, ignore_errors=True)
    return folder


def _on_record(
    options: argparse.Namespace, given: Mapping[str, Any]
) -> tuple[RunRequest, Path, str]:
    if options.name is None:
        raise InputError("--resume: say which run with --name")
    folder = reach(options.storage, options.name, in_process=options.workers == 0)
    request, fingerprint = runs.resume(folder)
    if options.recipe is not None:
        recipe = load_recipe(options.recipe)
        if options.batch_size is not None:
            recipe = with_batch_size(recipe, options.batch_size)
        given = {**given, "recipe": replace(recipe, epochs=request.recipe.epochs)}
    elif options.batch_size is not None:
        given = {**given, "batch_size": options.batch_size}
    check_same("run", {**request.recipe.to_json(), **vars(request)}, given)
    if options.workers is not None and request.in_process != (options.workers == 0):
        wanted = "--workers 0" if request.in_process else "--workers 1 or more"
        raise InputError(f"--resume: the run was begun with {wanted}; resume it so")
    return request, folder, fingerprint


def _new(options: argparse.Namespace, given: Mapping[str, Any]) -> tuple[RunRequest, Path]:
    in_process = options.workers == 0
    if options.stream and in_process:
        raise InputError("--stream: Ray Data reads the images; give --workers 1 or more")
    check_seed(given.get("seed", 0))
    data = given.get("data", "digits")
    recipe = recipe_for(data, options.recipe)
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    if options.batch_size is not None:
        recipe = with_batch_size(recipe, options.batch_size)
    request = RunRequest(
        data=data,
        image_size=given.get("image_size", 32),
        train_limit=options.train_limit,
        recipe=recipe,
        seed=given.get("seed", 0),
        precision=given.get("precision", "auto"),
        workers=options.workers,
        sync_norms=options.sync_norms,
        stream=options.stream,
    )
    name = options.name
    if name is None:
        name = runs.default_name(request.data.partition(":")[0], recipe.name)
    folder = reach(options.storage, name, in_process=in_process)
    runs.check_new(folder)  # before the data is read
    return request, folder
