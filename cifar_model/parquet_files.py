"""The parquet layout of Hugging Face data sets: listed from its footers and labels alone.

`train-*.parquet` and `test-*.parquet`, an image struct column (`bytes`, `path`) named `img` or
`image`, and an integer `label`; class names stand in the schema's metadata.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.dataset import check_utf8
from cifar_model.errors import InputError
from cifar_model.first_few import MOST, first_few
from cifar_model.listing import Chunk, ListedDataset, Listing, check_listing, digest_of_files

IMAGE_COLUMNS, LABEL = ("img", "image"), "label"


def list_parquet(
    root: Path, source: str, class_names: tuple[str, ...] | None = None
) -> ListedDataset:
    """The pictures of a folder of parquet files.

    source: begins each error message.
    class_names: where the files name none; else the labels' numbers are the names.
    """
    train, test = _files(root, "train", source), _files(root, "test", source)
    parts = [_list_split(files, source) for files in (train, test)]
    names = _agreed_names([*train, *test], source) or class_names
    if names is None:
        names = _numbers(parts[0].labels, source)
    files = digest_of_files(root, [*train, *test])
    return check_listing(ListedDataset(parts[0], parts[1], names, source, files))


def holds_parquet(root: Path) -> bool:
    """Whether there are training files of this layout in a folder."""
    return next(root.rglob("train-*.parquet"), None) is not None


def read_row_group(path: str, row_group: int) -> list[bytes | None]:
    """The encoded pictures of a row group, in its order; None where a row has no bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            column = next(name for name in IMAGE_COLUMNS if name in file.schema_arrow.names)
            table = file.read_row_group(row_group, columns=[column])
    except pa.ArrowException as error:
        raise InputError(f"{path}: damaged parquet file: {error}") from error
    return pc.struct_field(table[column], "bytes").to_pylist()


def _files(root: Path, split: str, source: str) -> list[Path]:
    files = sorted(root.rglob(f"{split}-*.parquet"))
    if not files:
        raise InputError(f"{source}: no {split}-*.parquet under {root}")
    check_utf8(*map(str, files))  # pyarrow opens no other
    return files


def _list_split(files: list[Path], source: str) -> Listing:
    import pyarrow as pa
    import pyarrow.parquet as pq

    chunks: list[Chunk] = []
    counts: list[int] = []
    labels: list[NDArray[Any]] = []
    for path in files:
        try:
            with pq.ParquetFile(path) as file:
                _check_columns(file.schema_arrow, path, source)
                labels.append(file.read(columns=[LABEL])[LABEL].to_numpy())
                for group in range(file.num_row_groups):
                    chunks.append(Chunk(str(path), group))
                    counts.append(file.metadata.row_group(group).num_rows)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{source}: {path}: damaged parquet file: {error}") from error
        if not np.issubdtype(labels[-1].dtype, np.integer):
            raise InputError(f"{source}: {path}: labels are {labels[-1].dtype}, expected integers")
    return Listing(
        tuple(chunks),
        np.repeat(np.arange(len(chunks)), counts),
        np.concatenate([np.arange(0), *(np.arange(count) for count in counts)]),
        np.concatenate(labels).astype(np.int64),
    )


def _check_columns(schema: Any, path: Path, source: str) -> None:
    import pyarrow as pa

    column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if column is None or LABEL not in schema.names:
        raise InputError(
            f"{source}: {path} has columns {', '.join(schema.names)}; "
            "expected img (or image) and label"
        )
    kind = schema.field(column).type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        raise InputError(f"{source}: {path}: column {column} is {kind}, expected a struct of bytes")


def _agreed_names(files: list[Path], source: str) -> tuple[str, ...] | None:
    """The class names of the files that name any; InputError if two say otherwise."""
    first, names = None, None
    for path in files:
        own = _names_in(path)
        if own and names and own != names:
            raise InputError(
                f"{source}: {path} names its classes otherwise, or in another order, than {first}, "
                "so the same label means two things; write the files again with the same features"
            )
        if own and not names:
            first, names = path, own
    return names


def _numbers(labels: NDArray[np.int64], source: str) -> tuple[str, ...]:
    """The labels as names of the classes; InputError if numbers between them are left out.

    It takes one stray label, such as an identifier, for millions to be.
    """
    present = np.unique(labels[labels >= 0])
    count = len(present)
    missing = int(present.max(initial=-1)) + 1 - count
    if missing:
        first = np.setdiff1d(np.arange(min(count + MOST, present[-1])), present)
        raise InputError(
            f"{source}: the files name no classes, their labels go up to {present[-1]}, and no "
            f"training image has label {first_few(first, missing)}; expected all numbers from 0 "
            "on, or class names in the files"
        )
    return tuple(str(label) for label in present)


def _names_in(path: Path) -> tuple[str, ...] | None:
    """Class names that the `datasets` library wrote into the file."""
    import pyarrow.parquet as pq

    try:
        features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[LABEL]["names"])
    except (KeyError, TypeError, ValueError):
        return None
