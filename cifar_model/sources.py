"""Where images come from: what `--data` names, decoded into an `ImageDataset`.

    cifar10       CIFAR10_DIR if set (parquet folder, cifar-10-batches-py folder or its tar.gz),
                  else the official archive, downloaded once into the cache
    folder:PATH   your own pictures, one folder a class, under `train/` and `test/` or neither;
                  turned as their EXIF says, cropped to the centre square and resized
    parquet:PATH  a folder in the parquet layout of Hugging Face: train-*.parquet, test-*.parquet
    digits        scikit-learn's handwritten digits, embedded: needs no download

`load_source` decodes it all into memory; `list_source` only lists what `--stream` reads later.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_model.cifar_files import CIFAR10_CLASSES, find_batches, read_batches
from cifar_model.dataset import (
    ImageDataset,
    LabelledImages,
    TestSet,
    check_dataset,
    limit_train,
    stratified_split,
)
from cifar_model.errors import InputError
from cifar_model.folders import SPLIT_SEED, TEST_FRACTION, list_folder
from cifar_model.framing import fit_to_square
from cifar_model.given_path import given_path
from cifar_model.listing import ListedDataset, load_listed, load_listing
from cifar_model.parquet_files import holds_parquet, list_parquet
from cifar_model.room_for_images import check_room

# What --data and --image-size take, in the commands' own help.
SOURCES = "cifar10, digits, folder:PATH or parquet:PATH"
IMAGE_SIDE = "side in pixels, a multiple of 8 from 16 on"


def load_source(spec: str, *, image_size: int = 32, to_split: bool = False) -> ImageDataset:
    """Decode the source that `spec` names into square images of side `image_size`.

    image_size: pixels, a multiple of 8 from 16 on.
    to_split: there is to be memory for the copy that `dataset.split_for_training` makes.
    Raises InputError, one line, for anything missing, truncated, of wrong shape or label.
    """
    check_image_size(image_size)
    if (listed := _list(spec)) is not None:
        if to_split:
            train, test = len(listed.train), len(listed.test)
            check_room(train + test, image_size, copied=train)
        dataset = load_listed(listed, image_size)
    elif spec == "cifar10":
        dataset = load_batches(image_size)
    elif spec == "digits":
        dataset = load_digits(image_size)
    else:
        hint = f"; did you mean folder:{spec}?" if spec and given_path(spec).is_dir() else ""
        raise InputError(f"--data {spec!r}: expected {SOURCES}{hint}")
    return check_dataset(dataset)


def load_to_split(spec: str, limit: int | None, *, seed: int, image_size: int = 32) -> ImageDataset:
    """`load_source` for `dataset.split_for_training`, with `limit` training images if given.

    seed: of the draw that limits them.
    """
    dataset = load_source(spec, image_size=image_size, to_split=limit is None)
    return dataset if limit is None else limit_train(dataset, limit, seed=seed)


def list_source(spec: str, *, image_size: int = 32) -> ListedDataset:
    """The pictures of the source that `spec` names, not decoded: `--stream` reads them as needed.

    InputError for anything missing, mislabelled, or in no files of its own.
    """
    check_image_size(image_size)
    listed = _list(spec)
    if listed is None:
        raise InputError(
            f"--stream: {spec!r} can't be streamed; expected folder:PATH, parquet:PATH, or cifar10 "
            "with CIFAR10_DIR a parquet folder; leave --stream out for what fits in memory"
        )
    return listed


def load_test_set(spec: str, *, image_size: int = 32) -> TestSet:
    """The test set of `load_source`; of what can be listed, nothing else is read."""
    check_image_size(image_size)
    if (listed := _list(spec)) is not None:
        return TestSet(load_listing(listed.test, image_size), listed.class_names, listed.source)
    dataset = load_source(spec, image_size=image_size)
    return TestSet(dataset.test, dataset.class_names, dataset.source)


def _list(spec: str) -> ListedDataset | None:
    """The listing of a source that lies in files of its own; None for others."""
    kind, _, argument = spec.partition(":")
    if kind == "folder" and argument:
        return list_folder(given_path(argument))
    if kind == "parquet" and argument:
        root = given_path(argument)
        return list_parquet(root, f"parquet:{root}")
    if spec == "cifar10" and (named := named_cifar10()) and named.is_dir() and holds_parquet(named):
        return list_parquet(named, spec, CIFAR10_CLASSES)
    return None


def check_image_size(image_size: int) -> None:
    """InputError for a side that the network can't take."""
    if image_size < 16 or image_size % 8:
        raise InputError(f"--image-size {image_size}: expected a multiple of 8, at least 16")


def named_cifar10() -> Path | None:
    """What CIFAR10_DIR names, if it is set."""
    named = os.environ.get("CIFAR10_DIR")
    if not named:
        return None
    root = given_path(named)
    if not root.exists():
        raise InputError(f"CIFAR10_DIR: nothing at {root}")
    return root


def load_batches(image_size: int = 32) -> ImageDataset:
    """CIFAR-10 in its official layout, from the archive (downloaded on first use) if need be."""
    root = named_cifar10()
    if root is None:
        from cifar_model.download import fetch_cifar10

        root = fetch_cifar10()
    batches = find_batches(root)
    if batches is None:
        raise InputError(
            f"cifar10: {root} holds neither train-*.parquet and test-*.parquet, "
            "nor cifar-10-batches-py, nor is it its tar.gz"
        )
    train, test, class_names = read_batches(batches)
    arrays = [
        LabelledImages(_resize_all(images, image_size), labels) for images, labels in (train, test)
    ]
    return ImageDataset(arrays[0], arrays[1], class_names, "cifar10")


def load_digits(image_size: int = 32) -> ImageDataset:
    """scikit-learn's 1,797 handwritten digits (8x8, 17 greys) as RGB, a fifth of them for test."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    images = _resize_all(np.repeat(grey[..., None], 3, axis=3), image_size)
    labels = bunch.target.astype(np.int64)
    size = round(len(labels) * TEST_FRACTION)
    rest, part = stratified_split(labels, size, seed=SPLIT_SEED)
    everything = LabelledImages(images, labels)
    names = tuple(str(name) for name in bunch.target_names)
    return ImageDataset(everything.take(rest), everything.take(part), names, "digits")


def _resize_all(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if images.shape[1:3] == (size, size):
        return images
    check_room(len(images), size)
    return np.stack([fit_to_square(image, size) for image in images])
