"""Pictures in one folder a class, listed without opening any."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from cifar_model.dataset import stratified_split
from cifar_model.errors import InputError
from cifar_model.first_few import first_few
from cifar_model.listing import Chunk, ListedDataset, Listing, check_listing, digest_of_files

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SPLIT_SEED = 0  # of a source without a test set of its own
TEST_FRACTION = 0.2


def list_folder(root: Path) -> ListedDataset:
    """Pictures in one folder a class, under `train/` and `test/` or under `root` itself.

    Without `train/` and `test/`, a seeded stratified fifth of the pictures is the test set.
    """
    root = root.absolute()
    if not root.is_dir():
        raise InputError(f"--data folder: no folder at {root}")
    source = f"folder:{root}"
    has_train, has_test = (root / "train").is_dir(), (root / "test").is_dir()
    if has_train != has_test:
        raise InputError(
            f"{source}: found {'train' if has_train else 'test'}/ without "
            f"{'test' if has_train else 'train'}/; give both, or one folder a class and neither"
        )
    if has_train:
        class_names = _class_folders(root / "train")
        test_names = _class_folders(root / "test")
        if class_names != test_names:
            differing = sorted(set(class_names) ^ set(test_names))
            raise InputError(
                f"{source}: class {first_few(differing)} is in only one of train/ and test/; "
                "both need the same class folders"
            )
        owners = _owners(root / part / name for part in ("train", "test") for name in class_names)
        train = _list_class_folders(root / "train", class_names, owners)
        test = _list_class_folders(root / "test", class_names, owners)
        listed = [*train.chunks, *test.chunks]
    else:
        class_names = _class_folders(root)
        if {name.lower() for name in class_names} == {"train", "test"}:
            raise InputError(
                f"{source}: its classes would be {' and '.join(class_names)}; if they are its two "
                "parts, rename them train and test"
            )
        owners = _owners(root / name for name in class_names)
        everything = _list_class_folders(root, class_names, owners)
        alone = np.flatnonzero(np.bincount(everything.labels) < 2)
        if len(alone):
            raise InputError(
                f"{source}: one picture of class {first_few([class_names[i] for i in alone])}; "
                "expected two or more, one of them for the test set, or train/ and test/"
            )
        size = max(len(class_names), round(len(everything) * TEST_FRACTION))
        rest, part = stratified_split(everything.labels, size, seed=SPLIT_SEED)
        train, test = everything.take(rest), everything.take(part)
        listed = [*everything.chunks]
    files = digest_of_files(root, [Path(chunk.path) for chunk in listed])
    return check_listing(ListedDataset(train, test, class_names, source, files))


def _class_folders(root: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not _hidden(p.name))
    if len(names) < 2:
        raise InputError(
            f"folder: {root} has {len(names)} class folders; expected two or more, "
            "each named for its class and holding its pictures"
        )
    return tuple(names)


def _owners(folders: Iterable[Path]) -> dict[Path, Path]:
    """The class folders by the place where each really is.

    InputError for those that share pictures, as links to one another or upwards would. A link to a
    folder elsewhere is as good as the folder.
    """
    owners: dict[Path, Path] = {}
    for folder in folders:
        place = folder.resolve()
        if folder.parent.resolve().is_relative_to(place):
            raise InputError(
                f"folder: class folder {folder} is a link to {place}, which holds all classes; "
                "expected a folder with pictures of its own"
            )
        _own(owners, place, folder)
    return owners


def _own(owners: dict[Path, Path], place: Path, folder: Path) -> None:
    if place in owners:
        raise InputError(
            f"folder: {owners[place]} and {folder} are one and the same; "
            "expected pictures of its own in each"
        )
    owners[place] = folder


def _list_class_folders(
    root: Path, class_names: tuple[str, ...], owners: dict[Path, Path]
) -> Listing:
    chunks: list[Chunk] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = sorted(_pictures_in(root / name, owners))
        if not found:
            raise InputError(
                f"folder: class {name!r} has no picture in {root / name} "
                f"(looked for {', '.join(IMAGE_SUFFIXES)})"
            )
        chunks += [Chunk(str(path)) for path in found]
        labels += [label] * len(found)
    count = len(chunks)
    return Listing(
        tuple(chunks),
        np.arange(count),
        np.zeros(count, np.int64),
        np.array(labels, dtype=np.int64),
    )


def _pictures_in(folder: Path, owners: dict[Path, Path]) -> Iterator[Path]:
    """Pictures below a folder, less what programs hide there: thumbnails, a Mac's `._1.jpg`.

    InputError for a link to a folder that is among the others already.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in folders:
            _own(owners, Path(place, name).resolve(), Path(place, name))
        for name in files:
            path = Path(place, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and not _hidden(name):
                yield path


def _hidden(name: str) -> bool:
    return name.startswith((".", "@eaDir"))  # the latter a Synology NAS's
