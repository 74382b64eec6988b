"""Labelled images in memory: the arrays every source delivers, and how they are split.

Images are uint8 RGB, shape (N, S, S, 3); labels are int64, shape (N,), in 0..K-1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.normalisation import Normalisation, measure_normalisation

VALIDATION_FRACTION = 0.1
VALIDATION_SEED = 0


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, S, S, 3) uint8 with their labels (N,) int64."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """SHA-256 over shape, labels and pixels."""
        digest = hashlib.sha256()
        self.feed(digest)
        return digest.hexdigest()

    def feed(self, digest: hashlib._Hash) -> None:
        """Take shape, labels and pixels into a digest."""
        digest.update(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.labels).data)
        digest.update(np.ascontiguousarray(self.images).data)

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """The images at these indices, in this order (a copy)."""
        return LabelledImages(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class ImageDataset:
    """A training and a test set of one source, with its class names in label order."""

    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]
    source: str  # what --data was, for people

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.images.shape[1])

    def fingerprint(self) -> str:
        """SHA-256 over class names, shapes, labels and pixels: equal data, equal fingerprint."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for part in (self.train, self.test):
            part.feed(digest)
        return digest.hexdigest()


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and looks at; the test set is not in here."""

    train: LabelledImages
    val: LabelledImages
    normalisation: Normalisation

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.train.images.shape[1])


def check_dataset(dataset: ImageDataset) -> ImageDataset:
    """The dataset itself if its parts fit together, else one `InputError` that says what doesn't.

    Every source calls it once before the data goes anywhere.
    """
    source, classes = dataset.source, len(dataset.class_names)
    if classes < 2:
        raise InputError(f"{source}: found {classes} class, a classifier needs at least 2")
    shape = dataset.train.images.shape
    for name, part in (("training", dataset.train), ("test", dataset.test)):
        if len(part) == 0:
            raise InputError(f"{source}: the {name} set is empty")
        if part.images.dtype != np.uint8 or part.images.shape[1:] != (*shape[1:3], 3):
            raise InputError(
                f"{source}: the {name} images are {part.images.dtype} {part.images.shape[1:]}, "
                f"expected uint8 {(*shape[1:3], 3)}"
            )
        if len(part.images) != len(part.labels):
            raise InputError(
                f"{source}: {len(part.images)} {name} images but {len(part.labels)} labels"
            )
        unknown = part.labels[(part.labels < 0) | (part.labels >= classes)]
        if len(unknown):
            raise InputError(
                f"{source}: label {unknown[0]} in the {name} set, "
                f"but the {classes} classes are numbered 0 to {classes - 1}"
            )
        missing = np.setdiff1d(np.arange(classes), part.labels)
        if len(missing):
            names = ", ".join(dataset.class_names[i] for i in missing)
            raise InputError(f"{source}: no image of class {names} in the {name} set")
    return dataset


def stratified_split(
    labels: NDArray[np.int64], size: int, *, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the rest and of a part of `size` images that keeps the class shares, both sorted.

    Each class gives its share, rounded by largest remainder, and at least one image stays on each
    side where a class has two or more.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (size / len(labels))
    quota = np.clip(np.floor(exact).astype(np.int64), (counts > 1).astype(np.int64), counts - 1)
    order = np.argsort(np.floor(exact) - exact, kind="stable")
    for position in np.resize(order, len(order) * 2):
        if quota.sum() >= size:
            break
        quota[position] += quota[position] < counts[position] - 1
    part = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == c))[:n]
            for c, n in zip(classes, quota, strict=True)
        ]
    )
    part.sort()
    return np.setdiff1d(np.arange(len(labels)), part), part


def limit_train(dataset: ImageDataset, limit: int, *, seed: int) -> ImageDataset:
    """The dataset with `limit` training images, drawn stratified and seeded; the test set stays."""
    classes = len(dataset.class_names)
    if not 2 * classes <= limit <= len(dataset.train):
        raise InputError(
            f"--train-limit {limit}: expected {2 * classes} (two a class) "
            f"to {len(dataset.train)} (all of {dataset.source})"
        )
    if limit == len(dataset.train):
        return dataset
    _, kept = stratified_split(dataset.train.labels, limit, seed=seed)
    return replace(dataset, train=dataset.train.take(kept))


def split_for_training(dataset: ImageDataset) -> TrainingData:
    """What a run trains on: a stratified tenth of the training images is set aside to look at.

    The draw is the same whatever the run's own seed, so that runs compare on the same images.
    """
    train = dataset.train
    size = max(1, round(len(train) * VALIDATION_FRACTION))
    rest, part = stratified_split(train.labels, size, seed=VALIDATION_SEED)
    return TrainingData(train.take(rest), train.take(part), measure_normalisation(train.images))
