"""Training images read as they are needed, for data sets larger than memory: `jobs.train --stream`.

The driver lists the source, measures it in one pass, and sends the listing. The validation split,
each epoch's order and each worker's share of a global batch come from the listing by the same
functions as for images in memory, so the run is the same; only the share of a worker is read for
it, by Ray Data's tasks, in order and some steps ahead (`jobs.ordered_reads`).

A picture in a file of its own is read when its step comes. Parquet can't be read a row at a time:
there a row group's pictures are dealt out to the steps that need them first (`jobs.dealer`), in
Ray's object store, which spills to disk. So an epoch reads each file once, and its first step waits
for that.

What does not shrink: the listing, some hundred bytes a picture, in the driver and each worker.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.batch_plan import BatchPlan
from cifar_model.dataset import TrainingData, validation_split
from cifar_model.errors import InputError
from cifar_model.listing import Chunk, ListedDataset, Listing, picture_decoder, read_pictures
from cifar_model.normalisation import Normalisation, count_values, normalisation_of

if TYPE_CHECKING:
    from jobs.dealer import DealerHandle

MEASURED_AT_ONCE = 256  # pictures that a task measures, at least where there are as many


@dataclass
class StreamedPictures:
    """The pictures of a listing, as a worker asks for them: a `cifar_model.dataset.Pictures`."""

    listing: Listing
    image_size: int
    dealer: DealerHandle | None = None  # where the pictures lie in parquet files
    _images: Iterator[NDArray[np.uint8]] = field(
        default_factory=lambda: iter(()), init=False, repr=False
    )

    @property
    def labels(self) -> NDArray[np.int64]:
        """The label of each picture."""
        return self.listing.labels

    def __len__(self) -> int:
        return len(self.listing)

    def share(self, plan: BatchPlan, epoch: int, step: int) -> NDArray[np.uint8]:
        """A worker's images of a step, (B, S, S, 3); an epoch's steps are asked for in order."""
        if step == 0:
            self._images = self._epoch(plan, epoch)
        images = next(self._images)
        if step == plan.steps - 1:
            # Asked for more than there is, Ray Data ends what it runs.
            assert next(self._images, None) is None
        return images

    def _epoch(self, plan: BatchPlan, epoch: int) -> Iterator[NDArray[np.uint8]]:
        import ray

        from jobs.dealer import read_hand
        from jobs.ordered_reads import in_order, recut

        shares = [plan.share(epoch, step) for step in range(plan.steps)]
        if self.dealer is None:
            chunks, chunk_N = self.listing.chunks, self.listing.chunk_N
            reads = [
                partial(read_files, [chunks[c] for c in chunk_N[share]], share, self.image_size)
                for share in shares
            ]
        else:
            actor, listing = self.dealer
            hands = ray.get(actor.hands.remote(listing, plan, epoch))
            reads = [partial(read_hand, hand, self.image_size) for hand in hands]
        return recut(in_order(reads), shares)


def read_files(
    files: list[Chunk], indices: NDArray[np.int64], image_size: int
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """Decode pictures that are a file each. Runs in a task of Ray Data."""
    decode, row = picture_decoder(image_size), np.zeros(1, np.int64)
    images = [next(read_pictures(file, row, decode)) for file in files]
    yield {"image": np.stack(images), "index": indices}


def stream_for_training(dataset: ListedDataset, image_size: int) -> TrainingData:
    """What a run trains on and looks at, split as in memory; needs Ray, and reads it all once.

    InputError for the first picture that can't be decoded.
    """
    train = dataset.train
    normalisation = measure(train, image_size)
    rest, part = (streamed(train.take(i), image_size) for i in validation_split(train.labels))
    return TrainingData(rest, part, normalisation)


def streamed(listing: Listing, image_size: int) -> StreamedPictures:
    """The pictures of a listing, with a dealer if they are not a file each."""
    if all(chunk.row_group is None for chunk in listing.chunks):
        return StreamedPictures(listing, image_size)
    from jobs.dealer import start_dealer

    return StreamedPictures(listing, image_size, start_dealer(listing))


def measure(listing: Listing, image_size: int) -> Normalisation:
    """The mean and spread of all pictures, to the last digit what they are in memory."""
    from jobs.ordered_reads import in_order

    groups = [
        (listing.chunks[listing.chunk_N[indices[0]]], listing.row_N[indices])
        for indices in listing.by_chunk()
    ]
    size = max(1, MEASURED_AT_ONCE * len(groups) // len(listing))
    reads = [
        partial(count_pictures, groups[first : first + size], image_size)
        for first in range(0, len(groups), size)
    ]
    counts = np.zeros((3, 256), np.int64)
    for piece in in_order(reads):
        if error := next(filter(None, piece["error"]), None):
            raise InputError(str(error))
        counts += piece["counts"].sum(axis=0)
    return normalisation_of(counts)


def count_pictures(
    groups: list[tuple[Chunk, NDArray[np.int64]]], image_size: int
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """How often each channel has each value, or what can't be read. Runs in a task of Ray Data."""
    decode, counts, error = picture_decoder(image_size), np.zeros((3, 256), np.int64), ""
    try:
        for chunk, rows in groups:
            for picture in read_pictures(chunk, rows, decode):
                counts += count_values(picture[None])
    except InputError as unreadable:
        # Raised, Ray Data would print it at length, and try again.
        error = str(unreadable)
    yield {"counts": counts[None], "error": np.array([error])}
