"""Pictures where they lie: what a source lists without decoding any, and reading from that list.

A listing takes some hundred bytes a picture, however large the pictures are. Everything that loads
or streams `folder:` and parquet sources goes through one, so both see the same pictures in the same
order.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifar_model.dataset import ImageDataset, LabelledImages, check_labels
from cifar_model.errors import InputError
from cifar_model.framing import Picture, fit_to_square, rgb_on_white
from cifar_model.orientation import orientation, upright
from cifar_model.room_for_images import check_room

Decode = Callable[[bytes], Picture]
OF_FILES = "files:"  # before a fingerprint that is not over pixels
LARGE = 8192  # bytes of a stored picture; decoding smaller ones, threads wait for each other


class Chunk(NamedTuple):
    """What is read in one go: a picture's file, or a row group of a parquet file."""

    path: str  # absolute
    row_group: int | None = None  # None: the file is one picture

    def name(self, row: int) -> str:
        """A picture of the chunk, for people."""
        if self.row_group is None:
            return self.path
        return f"row {row} of row group {self.row_group} in {self.path}"


@dataclass(frozen=True)
class Listing:
    """Labelled pictures, N of them: picture i is row `row_N[i]` of `chunks[chunk_N[i]]`."""

    chunks: tuple[Chunk, ...]
    chunk_N: NDArray[np.int64]
    row_N: NDArray[np.int64]  # in the chunk
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> Listing:
        """The pictures at these indices, in this order."""
        return Listing(
            self.chunks, self.chunk_N[indices], self.row_N[indices], self.labels[indices]
        )

    def by_chunk(self) -> list[NDArray[np.int64]]:
        """The indices of the pictures of each chunk that has any, chunk after chunk."""
        order = np.argsort(self.chunk_N, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.chunk_N[order])) + 1)


@dataclass(frozen=True)
class ListedDataset:
    """A training and a test set of one source, not decoded; class names in label order."""

    train: Listing
    test: Listing
    class_names: tuple[str, ...]
    source: str  # what --data was, for people
    files: str  # `digest_of_files`

    def fingerprint(self) -> str:
        """SHA-256 over class names, file names, file sizes, labels and which pictures these are.

        Not over pixels: a file changed in place that keeps its size goes unseen.
        """
        digest = hashlib.sha256("\n".join((self.files, *self.class_names)).encode())
        for part in (self.train, self.test):
            for values in (part.chunk_N, part.row_N, part.labels):
                digest.update(np.ascontiguousarray(values).data)
            digest.update(b"|")
        return digest.hexdigest()

    def test_fingerprint(self) -> str:
        """As `fingerprint`, of the test set alone, wherever it lies and whatever is trained on."""
        paths = [Path(chunk.path) for chunk in (*self.train.chunks, *self.test.chunks)]
        root = Path(os.path.commonpath(paths))
        used = np.unique(self.test.chunk_N)
        files = digest_of_files(root, [Path(self.test.chunks[i].path) for i in used])
        digest = hashlib.sha256("\n".join((files, *self.class_names)).encode())
        for values in (np.searchsorted(used, self.test.chunk_N), self.test.row_N, self.test.labels):
            digest.update(np.ascontiguousarray(values).data)
        return OF_FILES + digest.hexdigest()


def digest_of_files(root: Path, files: Sequence[Path]) -> str:
    """SHA-256 over the files' names below `root` and their sizes in bytes.

    InputError for one that isn't there, such as a link to nothing.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
        except OSError as error:
            raise InputError(f"{path} can't be read: {error.strerror}") from error
        # A file's name may be any bytes.
        digest.update(os.fsencode(path.relative_to(root)) + f"\0{size}\n".encode())
    return digest.hexdigest()


def check_listing(dataset: ListedDataset) -> ListedDataset:
    """The data set itself if its labels fit its classes, else one `InputError`."""
    for name, part in (("training", dataset.train), ("test", dataset.test)):
        check_labels(part.labels, dataset.class_names, dataset.source, name)
    return dataset


def picture_decoder(image_size: int) -> Decode:
    """Bytes of one picture -> its centre square, (image_size, image_size, 3) uint8.

    These are the user's own training files, so any format that Pillow reads is welcome; what
    strangers upload goes through `serve_app.images` instead.
    """
    from PIL import Image

    # A camera's 100 megapixels are no bomb. What Pillow refuses as one, from 179 on, stays refused.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

    def decode(data: bytes) -> Picture:
        with Image.open(BytesIO(data)) as image:
            picture = rgb_on_white(image)
            # Of a PNG it may come after the pixels, and text of that name may be there instead.
            exif = image.info.get("exif")
            turned = orientation(exif) if isinstance(exif, bytes) else 1
        return fit_to_square(upright(picture, turned), image_size)

    return decode


def read_encoded(chunk: Chunk, rows: NDArray[np.int64]) -> list[bytes]:
    """The pictures of these rows as they are stored; reads the whole chunk."""
    if chunk.row_group is None:
        return [Path(chunk.path).read_bytes()] * len(rows)
    from cifar_model.parquet_files import read_row_group

    pictures = read_row_group(chunk.path, chunk.row_group)
    if empty := [int(row) for row in rows if pictures[row] is None]:
        raise InputError(
            f"{chunk.name(empty[0])} holds no picture; expected its bytes, not only its path"
        )
    return [pictures[row] for row in rows]


def decode_named(data: bytes, decode: Decode, name: str) -> Picture:
    """The decoded picture; InputError that names it if it can't be decoded."""
    from PIL import UnidentifiedImageError

    try:
        return decode(data)
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} can't be read as a picture: its bytes are of no known format"
        ) from error
    except Exception as error:
        raise InputError(f"{name} can't be read as a picture: {error}") from error


def read_pictures(
    chunk: Chunk, rows: NDArray[np.int64], decode: Decode, pool: Executor | None = None
) -> Iterator[Picture]:
    """The decoded pictures of these rows; InputError that names the first that can't be read.

    pool: of threads, for pictures that are large enough for it.
    """
    try:
        encoded = read_encoded(chunk, rows)
    except OSError as error:
        raise InputError(f"{chunk.path} can't be read: {error}") from error
    large = sum(map(len, encoded)) > LARGE * len(encoded)
    each = pool.map if pool and large else map
    yield from each(decode_named, encoded, repeat(decode), (chunk.name(int(row)) for row in rows))


def load_listing(listing: Listing, image_size: int) -> LabelledImages:
    """All pictures of a listing, decoded into memory; InputError if that has no room for them."""
    check_room(len(listing), image_size)
    decode = picture_decoder(image_size)
    images = np.empty((len(listing), image_size, image_size, 3), np.uint8)

    def fill(indices: NDArray[np.int64], pool: Executor | None = None) -> None:
        chunk = listing.chunks[listing.chunk_N[indices[0]]]
        pictures = read_pictures(chunk, listing.row_N[indices], decode, pool)
        for index, picture in zip(indices, pictures, strict=True):
            images[index] = picture

    chunks = listing.by_chunk()
    with ThreadPoolExecutor() as pool:
        if len(chunks) < len(listing):
            for indices in chunks:
                fill(indices, pool)
        else:
            for _ in pool.map(fill, chunks):
                pass
    return LabelledImages(images, listing.labels)


def load_listed(dataset: ListedDataset, image_size: int) -> ImageDataset:
    """All pictures of a listed data set, decoded into memory."""
    return ImageDataset(
        load_listing(dataset.train, image_size),
        load_listing(dataset.test, image_size),
        dataset.class_names,
        dataset.source,
    )
