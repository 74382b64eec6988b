"""What a submitted job takes along: the packages that its command needs, and files it was given.

They are gathered in a folder of their own, so no `.gitignore` decides what stays behind: a model
that git ignores travels if the command names it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from cifar_model.errors import InputError

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
    inputs: files and folders that travel as INPUTS/NAME.
    built_in_models: whether the models that come with the package travel.
    """
    with TemporaryDirectory(prefix="ray-cifar-package-") as name:
        folder = Path(name)
        ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
        for part in PACKAGES[what]:
            shutil.copytree(ROOT / part, folder / part, ignore=ignore)
        if not built_in_models:
            shutil.rmtree(folder / BUILT_IN_MODELS, ignore_errors=True)
        shutil.copy(ROOT / PINS, folder / PINS)
        for path in inputs:
            target = folder / INPUTS / path.name
            target.parent.mkdir(exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, target)
            else:
                shutil.copy(path, target)
        packed = Package(folder, _sizes(folder))
        if packed.size > limit:
            largest, size = packed.files[0]
            raise InputError(
                f"the package is {packed.size / 2**20:.1f} MiB, over the limit of "
                f"{limit / 2**20:.0f} MiB; the largest file is {largest} ({size / 2**20:.1f} MiB). "
                "Put large files on storage that the cluster reaches and name them there"
            )
        yield packed


def _sizes(folder: Path) -> tuple[tuple[str, int], ...]:
    files = ((p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder.rglob("*"))
    only = [(name, size) for name, size in files if (folder / name).is_file()]
    return tuple(sorted(only, key=lambda file: (-file[1], file[0])))
