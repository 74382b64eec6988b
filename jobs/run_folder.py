"""The folder of one training run, STORAGE/NAME, and the rules for starting, resuming and ending it.

run.json            what was asked for: enough to resume
history.csv         metrics of each epoch
.held               there while a command is at work; see held_folder.py
startup.json        seconds from the command to the first step
diverged.txt        why training ended early, if its loss became no number
tensorboard/        losses and accuracies of each epoch, for TensorBoard
checkpoint_*/       one of each of the last two epochs
model/              the exported model; its config being there means that the run has ended
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cifar_model.checkpoints import newest_whole, newest_whole_here
from cifar_model.errors import InputError
from cifar_model.field_types import check_types
from cifar_model.files import write_json
from cifar_model.given_path import given_path
from cifar_model.history import STARTUP
from cifar_model.model_config import CONFIG
from cifar_model.recipe import Recipe, from_json
from cifar_model.run_plan import Precision
from jobs import storage as storage_uri
from jobs.held_folder import held, is_begun

DIVERGED = "diverged.txt"
RUN, MODEL = "run.json", "model"
# Three checkpoints (two kept, one being written) of weights and Adam's two moments, and the model.
NEEDED_BYTES = (3 * 3 + 1) * 4 * 6_575_370
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class RunRequest:
    """Everything that decides what a run computes."""

    data: str
    image_size: int
    train_limit: int | None
    recipe: Recipe
    seed: int
    precision: Precision
    workers: int | None  # None: no number was asked for
    sync_norms: bool = False
    stream: bool = False  # the same images, but the fingerprint is of their files

    @property
    def in_process(self) -> bool:
        """Whether it trains without Ray."""
        return self.workers == 0

    def to_json(self) -> dict[str, Any]:
        """The content of run.json, less the data's fingerprint."""
        return asdict(self)


def run_folder(storage: str, name: str) -> Path:
    """STORAGE/NAME as an absolute path; InputError for a name that can't be a folder's.

    Of a URI it is where this machine works on its copy of the run.
    """
    check_name(name)
    if storage_uri.is_uri(storage):
        return storage_uri.working_copy(storage_uri.join(storage, name))
    # Workers run in folders of their own, so a relative path would mean another place there.
    return given_path(storage) / name


def check_name(name: str) -> None:
    """InputError for a name that can't be a folder's, or stand in an address."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"--name {name!r}: expected up to 100 letters, digits, '.', '_' or '-', "
            "the first a letter or digit"
        )


def has_ended(folder: Path) -> bool:
    """Whether the run's model is there, whole: at a URI its config comes last."""
    return (folder / MODEL / CONFIG).is_file()


def check_new(folder: Path) -> None:
    """InputError if the folder is another run's."""
    if has_ended(folder):
        raise InputError(
            f"run {folder.name!r} has ended: its model is {folder / MODEL}; choose another --name"
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--name {folder.name}: {folder} is a file; choose another --name")
    if folder.exists() and is_begun(folder):
        raise _taken(folder)


def _taken(folder: Path) -> InputError:
    return InputError(
        f"run {folder.name!r} was begun in {folder}; "
        "add --resume to go on with it, or choose another --name"
    )


def begin(folder: Path, request: RunRequest, fingerprint: str) -> None:
    """Claim the folder for a new run; InputError if it is taken, or its disk too full."""
    check_new(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_free(folder, "a run")
        with held(folder):
            if (folder / RUN).exists():  # since we looked
                raise _taken(folder)
            write_json(folder / RUN, {**request.to_json(), "fingerprint": fingerprint})
    except OSError as error:
        raise InputError(f"--storage: can't write to {folder}: {error}") from error


def check_free(
    folder: Path, what: str, runs: int = 1, *, remedy: str = "or choose another --storage"
) -> None:
    """InputError if the folder's disk has no room for the files of so many runs.

    remedy: what to do when some has been freed.
    """
    free, needed = shutil.disk_usage(folder).free, runs * NEEDED_BYTES
    if free < needed:
        raise InputError(
            f"--storage: {free / 2**20:.0f} MiB free in {folder}, {what} needs "
            f"{needed / 2**20:.0f} MiB for checkpoints and models; free some, {remedy}"
        )


def check_data(what: str, data: str, fingerprint: str, begun_on: str) -> None:
    """InputError unless what is resumed, a run or a search, has the data that it was begun on."""
    if fingerprint != begun_on:
        raise InputError(
            f"--resume: {data} is not what the {what} was begun on "
            f"(fingerprint {fingerprint[:12]}, was {begun_on[:12]})"
        )


def default_name(*parts: str) -> str:
    """Of a run or a search that was given none: what it is of, and the time."""
    kept = "-".join(re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip("._-") for part in parts)
    return time.strftime(f"{kept[:80]}-%Y%m%d-%H%M%S")


def check_unfinished(folder: Path) -> None:
    """InputError if the run has ended."""
    if has_ended(folder):
        raise InputError(
            f"run {folder.name!r} has ended: its model is {folder / MODEL}; nothing to resume"
        )


def resume(folder: Path) -> tuple[RunRequest, str]:
    """What an unfinished run was asked for, and its data's fingerprint."""
    check_unfinished(folder)
    path = folder / RUN
    if not path.is_file():
        raise InputError(
            f"--resume: no run {folder.name!r} was begun in {folder.parent} (no {RUN}); without "
            "--resume it begins"
        )
    try:
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        fingerprint = str(values.pop("fingerprint"))
        if "in_process" in values:  # as it was recorded before the number of workers was
            values["workers"] = 0 if values.pop("in_process") else None
        request = RunRequest(**{**values, "recipe": from_json(values["recipe"])})
        check_types(request, f"--resume: {path}")
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"--resume: {path} can't be used: {error}") from error
    return request, fingerprint


def epochs_done(folder: Path) -> int:
    """How many epochs of a run need not be done again; InputError if it can't go on."""
    found = newest_whole_here(folder, lambda line: None)
    return found[0] + 1 if found else 0


def last_checkpoint(folder: Path, uri: str | None, epochs: int, say: Callable[[str], None]) -> Path:
    """The checkpoint of the last epoch, on this machine; InputError if it is not whole."""
    if uri is None:
        found = newest_whole_here(folder, say)
    else:
        aside = folder.parent / ".last-checkpoint"  # no run's name
        shutil.rmtree(aside, ignore_errors=True)

        def fetch(name: str) -> Path:
            return storage_uri.fetch_checkpoint(uri, name, aside)

        found = newest_whole(storage_uri.checkpoints(uri), fetch, say)
    if found is None or found[0] + 1 < epochs:
        raise InputError(
            f"run {folder.name!r}: the checkpoint of its last epoch is broken or gone; "
            "with --resume that epoch is done again"
        )
    return found[1]


def startup_seconds(folder: Path) -> float:
    """Seconds from the command to the first step, as the run recorded them."""
    return float(json.loads((folder / STARTUP).read_text(encoding="utf-8"))["seconds"])
