"""Labelled images in memory: the arrays every source delivers, and how they are split.

Images are uint8 RGB, shape (N, S, S, 3); labels are int64, shape (N,), in 0..K-1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.first_few import first_few
from cifar_model.normalisation import Normalisation, measure_normalisation

if TYPE_CHECKING:
    from cifar_model.batch_plan import BatchPlan
    from cifar_model.listing import ListedDataset

VALIDATION_FRACTION = 0.1
VALIDATION_SEED = 0


class Pictures(Protocol):
    """What training batches are made of: arrays in memory, or pictures read as they are needed."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each picture."""

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""

    def __len__(self) -> int: ...

    def share(self, plan: BatchPlan, epoch: int, step: int) -> NDArray[np.uint8]:
        """A worker's images of a step, (B, S, S, 3); an epoch's steps are asked for in order."""


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

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return int(self.images.shape[1])

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """The images at these indices, in this order (a copy)."""
        return LabelledImages(self.images[indices], self.labels[indices])

    def share(self, plan: BatchPlan, epoch: int, step: int) -> NDArray[np.uint8]:
        """A worker's images of a step (a copy)."""
        return self.images[plan.share(epoch, step)]


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
        return self.train.image_size

    def fingerprint(self) -> str:
        """SHA-256 over class names, shapes, labels and pixels: equal data, equal fingerprint."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for part in (self.train, self.test):
            part.feed(digest)
        return digest.hexdigest()


@dataclass(frozen=True)
class TestSet:
    """The test set of a source by itself, with its class names in label order."""

    test: LabelledImages
    class_names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class TrainingData:
    """What a run trains on and looks at; the test set is not in here."""

    train: Pictures
    val: Pictures
    normalisation: Normalisation

    @property
    def image_size(self) -> int:
        """Side of the square images, in pixels."""
        return self.train.image_size


Source = TypeVar("Source", bound="ImageDataset | ListedDataset")


def check_dataset(dataset: ImageDataset) -> ImageDataset:
    """The dataset itself if its parts fit together, else one `InputError` that says what doesn't.

    Every source calls it once before the data goes anywhere.
    """
    source = dataset.source
    shape = dataset.train.images.shape
    for name, part in (("training", dataset.train), ("test", dataset.test)):
        if part.images.dtype != np.uint8 or part.images.shape[1:] != (*shape[1:3], 3):
            raise InputError(
                f"{source}: the {name} images are {part.images.dtype} {part.images.shape[1:]}, "
                f"expected uint8 {(*shape[1:3], 3)}"
            )
        if len(part.images) != len(part.labels):
            raise InputError(
                f"{source}: {len(part.images)} {name} images but {len(part.labels)} labels"
            )
        check_labels(part.labels, dataset.class_names, source, name)
    return dataset


def check_labels(
    labels: NDArray[np.int64], class_names: tuple[str, ...], source: str, name: str
) -> None:
    """InputError unless these are labels of images of every class, and of no other.

    name: of the set, for the message: "training" or "test".
    """
    check_utf8(source, *class_names)
    classes = len(class_names)
    if classes < 2:
        raise InputError(f"{source}: found {classes} class, a classifier needs at least 2")
    if len(labels) == 0:
        raise InputError(f"{source}: the {name} set is empty")
    unknown = labels[(labels < 0) | (labels >= classes)]
    if len(unknown):
        raise InputError(
            f"{source}: label {unknown[0]} in the {name} set, "
            f"but the {classes} classes are numbered 0 to {classes - 1}"
        )
    missing = np.setdiff1d(np.arange(classes), labels)
    if len(missing):
        names = first_few([class_names[i] for i in missing])
        raise InputError(f"{source}: no image of class {names} in the {name} set")


def check_utf8(*names: str) -> None:
    """InputError for a name that is not UTF-8: it can't stand in a model's config and card."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"the name {name!a} is not UTF-8; rename the class, file or folder"
            ) from None


def stratified_split(
    labels: NDArray[np.int64], size: int, *, seed: int, left: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the rest and of a part of `size` images that keeps the class shares, both sorted.

    Each class gives its share, rounded by largest remainder, and at least one image where it has
    more than stay behind.

    left: so many of each class stay behind.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (size / len(labels))
    least = (counts > left).astype(np.int64)
    quota = np.clip(np.floor(exact).astype(np.int64), least, counts - left)
    order = np.argsort(np.floor(exact) - exact, kind="stable")
    for position in np.resize(order, len(order) * 2):
        if quota.sum() >= size:
            break
        quota[position] += quota[position] < counts[position] - left
    while quota.sum() > size and quota.max() > 1:  # the least of rare classes was too much
        quota[quota.argmax()] -= 1
    part = np.concatenate(
        [
            rng.permutation(np.flatnonzero(labels == c))[:n]
            for c, n in zip(classes, quota, strict=True)
        ]
    )
    part.sort()
    return np.setdiff1d(np.arange(len(labels)), part), part


def limit_train(dataset: Source, limit: int, *, seed: int) -> Source:
    """The dataset with `limit` training images, drawn stratified and seeded; the test set stays."""
    classes = len(dataset.class_names)
    if not 2 * classes <= limit <= len(dataset.train):
        raise InputError(
            f"--train-limit {limit}: expected {2 * classes} (two a class) "
            f"to {len(dataset.train)} (all of {dataset.source})"
        )
    if limit == len(dataset.train):
        return dataset
    _, kept = stratified_split(dataset.train.labels, limit, seed=seed, left=0)
    return replace(dataset, train=dataset.train.take(kept))  # type: ignore[arg-type]  # its own kind


def validation_split(
    labels: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on, and of a stratified tenth that is set aside to look at.

    The draw is the same whatever the run's own seed, so that runs on the same training images
    compare on the same.
    """
    size = max(1, round(len(labels) * VALIDATION_FRACTION))
    return stratified_split(labels, size, seed=VALIDATION_SEED)


def split_for_training(dataset: ImageDataset) -> TrainingData:
    """What a run trains on and what it looks at, by `validation_split`."""
    train = dataset.train
    rest, part = validation_split(train.labels)
    return TrainingData(train.take(rest), train.take(part), measure_normalisation(train.images))
