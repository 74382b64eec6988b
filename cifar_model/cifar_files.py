"""CIFAR-10's official python batches.

`data_batch_1..5`, `test_batch` and `batches.meta`, as a folder or still in its tar.gz; they are
pickles, read by an unpickler that knows arrays and plain containers and nothing else.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError

CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
BATCHES_FOLDER = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


def find_batches(root: Path) -> Path | None:
    """The python batches at `root`: their folder, a parent of it, or their tar.gz; else None."""
    if root.is_file():
        try:
            return root if tarfile.is_tarfile(root) else None
        except (EOFError, zlib.error) as error:
            raise InputError(f"cifar10: {root} is damaged or truncated: {error}") from error
    for folder in (root, root / BATCHES_FOLDER):
        if (folder / "batches.meta").is_file() or (folder / TRAIN_BATCHES[0]).is_file():
            return folder
    archives = sorted(root.glob("cifar-10-python.tar.gz"))
    return archives[0] if archives else None


def read_batches(path: Path) -> tuple[Arrays, Arrays, tuple[str, ...]]:
    """Training arrays, test arrays and class names from the batches folder or its tar.gz."""
    members = _archive_members(path) if path.is_file() else _folder_members(path)
    if missing := [name for name in _WANTED if name not in members]:
        raise InputError(f"cifar10: {path} lacks {', '.join(missing)}")
    train = [_batch(name, members[name], path) for name in TRAIN_BATCHES]
    names = _unpickle("batches.meta", members["batches.meta"], path).get("label_names")
    if not isinstance(names, list):
        raise InputError(f"cifar10: batches.meta in {path} has no label_names")
    return (
        (
            np.concatenate([images for images, _ in train]),
            np.concatenate([labels for _, labels in train]),
        ),
        _batch("test_batch", members["test_batch"], path),
        tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names),
    )


_WANTED = (*TRAIN_BATCHES, "test_batch", "batches.meta")


def _folder_members(folder: Path) -> dict[str, bytes]:
    there = [name for name in _WANTED if (folder / name).is_file()]
    return {name: (folder / name).read_bytes() for name in there}


def _archive_members(archive: Path) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                name = Path(info.name).name
                if info.isfile() and name in _WANTED:
                    stream = tar.extractfile(info)
                    assert stream is not None
                    members[name] = stream.read()
            # gzip's checksum stands at its end, beyond what tar reads.
            while tar.fileobj is not None and tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise InputError(f"cifar10: {archive} is damaged or truncated: {error}") from error
    return members


def _batch(name: str, data: bytes, where: Path) -> Arrays:
    content = _unpickle(name, data, where)
    pixels, labels = content.get("data"), content.get("labels")
    shape = getattr(pixels, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != 3072 or not isinstance(labels, list):
        raise InputError(
            f"cifar10: {name} in {where} has data of shape {shape}, "
            "expected (N, 3072) with a list of labels"
        )
    images = np.asarray(pixels, dtype=np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(labels, dtype=np.int64)


def _unpickle(name: str, data: bytes, where: Path) -> dict[str, Any]:
    try:
        content = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:
        raise InputError(f"cifar10: {name} in {where} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"cifar10: {name} in {where} is not a CIFAR-10 batch")
    return {k.decode() if isinstance(k, bytes) else str(k): v for k, v in content.items()}


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds NumPy arrays; refuses every other class or function a pickle may name."""

    _ALLOWED = frozenset(
        {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"},
    )

    def find_class(self, module: str, name: str) -> Any:
        if module == "_codecs" and name == "encode":
            return super().find_class(module, name)
        if module.split(".")[0] == "numpy" and name in self._ALLOWED:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")
