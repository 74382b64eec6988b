"""What a submitted job takes along: the packages that its command needs, and files it was given.

They are gathered in a folder of their own, so no `.gitignore` decides what stays behind: a model
that git ignores travels if the command names it. Of a folder of models only those travel, and not
the checkpoints of the runs around them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from cifar_model.errors import InputError
from cifar_model.model_config import CONFIG
from cifar_model.model_folder import model_places

ROOT = Path(__file__).parents[1]
INPUTS = "inputs"  # where the files that a command names travel
MAX_BYTES = 100 * 2**20  # of a package; Ray itself refuses above 512 MiB, after zipping
LARGEST = 10
PINS = "constraints.txt"

PACKAGES = {
    "train": ("cifar_model", "jobs"),
    "tune": ("cifar_model", "jobs"),
    "lr_find": ("cifar_model", "jobs"),
    "evaluate": ("cifar_model", "jobs"),
    "serve": ("cifar_model", "serve_app"),
}
BUILT_IN_MODELS = "cifar_model/pretrained"


@dataclass(frozen=True)
class Package:
    """A folder ready to be sent."""

    folder: Path
    files: tuple[tuple[str, int], ...]  # path in the folder, bytes; the largest first

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(size for _, size in self.files)

    def summary(self) -> str:
        """Its size and its largest files, for people."""
        lines = [f"Package: {len(self.files)} files, {self.size / 2**20:.1f} MiB; the largest:"]
        lines += [f"  {size / 1024:9.1f} KiB  {name}" for name, size in self.files[:LARGEST]]
        return "\n".join(lines)


@contextmanager
def package(
    what: str, inputs: Sequence[Path], *, built_in_models: bool, limit: int = MAX_BYTES
) -> Iterator[Package]:
    """The package of a command, deleted at the end; InputError if it is over the limit.

    what: a key of PACKAGES.
    inputs: files, model folders and folders of models, which travel as INPUTS/NAME.
    built_in_models: whether the models that come with the package travel.
    """
    with TemporaryDirectory(prefix="ray-cifar-package-") as name:
        folder = Path(name)
        with _readable():
            files = gathered(what, inputs, built_in_models=built_in_models)
            packed = Package(folder, _sizes(files))
        if packed.size > limit:
            largest, size = packed.files[0]
            raise InputError(
                f"the package is {packed.size / 2**20:.1f} MiB, over the limit of "
                f"{limit / 2**20:.0f} MiB; the largest file is {largest} ({size / 2**20:.1f} MiB). "
                "Put large files on storage that the cluster reaches and name them there"
            )
        with _readable():
            for place, source in files.items():
                target = folder / place
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
        yield packed


def gathered(what: str, inputs: Sequence[Path], *, built_in_models: bool) -> dict[str, Path]:
    """Each file of a command's package: its path there -> where it lies now."""
    files = {PINS: ROOT / PINS}
    for part in PACKAGES[what]:
        files |= _below(ROOT / part, part)
    if not built_in_models:
        files = {k: v for k, v in files.items() if not k.startswith(f"{BUILT_IN_MODELS}/")}
    for path in inputs:
        there = PurePosixPath(INPUTS) / path.name
        if path.is_file():
            files[str(there)] = path
            continue
        for model in models_of(path):
            files |= _below(model, str(there / model.relative_to(path).as_posix()))
    return files


def models_of(folder: Path) -> list[Path]:
    """The model folders that a server finds there: itself, or NAME and NAME/model in it."""
    if (folder / CONFIG).is_file():
        return [folder]
    found = model_places(folder)
    models = [p for p in found if not any(map(_stays, p.relative_to(folder).parts))]
    if not models:
        raise InputError(f"{folder}: neither a model ({CONFIG}) nor a folder of models")
    return models


def _below(folder: Path, there: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not _stays(name)]
        paths = [Path(place, name) for name in names if not _stays(name)]
        files |= {f"{there}/{path.relative_to(folder).as_posix()}": path for path in paths}
    return files


def _stays(name: str) -> bool:
    """Whether a file or folder stays behind: Ray would obey a `.gitignore`, and say nothing."""
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _sizes(files: Mapping[str, Path]) -> tuple[tuple[str, int], ...]:
    sizes = [(name, path.stat().st_size) for name, path in files.items()]
    return tuple(sorted(sizes, key=lambda file: (-file[1], file[0])))


@contextmanager
def _readable() -> Iterator[None]:
    """A file that vanishes or can't be read, as one `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the package: {error}; if something is being written there, try again"
        ) from error
