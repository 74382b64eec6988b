"""Where images come from: what `--data` names, decoded into an `ImageDataset`.

    cifar10       CIFAR10_DIR if set (parquet folder, cifar-10-batches-py folder or its tar.gz),
                  else the official archive, downloaded once into the cache
    folder:PATH   your own pictures, one folder a class
    digits        scikit-learn's handwritten digits, embedded: needs no download

Not covered: data sets larger than memory.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifar_model.cifar_files import find_batches, read_batches, read_parquet
from cifar_model.dataset import ImageDataset, LabelledImages, check_dataset, stratified_split
from cifar_model.errors import InputError
from cifar_model.framing import fit_to_square

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
SPLIT_SEED = 0  # of a folder or digits without a test set of its own
TEST_FRACTION = 0.2


def load_source(spec: str, *, image_size: int = 32) -> ImageDataset:
    """Decode the source that `spec` names into square images of side `image_size`.

    image_size: pixels, a multiple of 8 from 16 on.
    Raises InputError, one line, for anything missing, truncated, of wrong shape or label.
    """
    if image_size < 16 or image_size % 8:
        raise InputError(f"--image-size {image_size}: expected a multiple of 8, at least 16")
    kind, _, argument = spec.partition(":")
    if kind == "folder" and argument:
        dataset = load_folder(Path(argument).expanduser(), image_size)
    elif spec == "cifar10":
        dataset = load_cifar10(image_size)
    elif spec == "digits":
        dataset = load_digits(image_size)
    else:
        raise InputError(f"--data {spec!r}: expected cifar10, digits or folder:PATH")
    return check_dataset(dataset)


def load_cifar10(image_size: int = 32) -> ImageDataset:
    """CIFAR-10 from CIFAR10_DIR, or else from the official archive (downloaded on first use)."""
    named = os.environ.get("CIFAR10_DIR")
    if named:
        root = Path(named).expanduser().absolute()
        if not root.exists():
            raise InputError(f"CIFAR10_DIR: nothing at {root}")
    else:
        from cifar_model.download import fetch_cifar10

        root = fetch_cifar10()
    decode = _decoder(image_size)
    if root.is_dir() and sorted(root.rglob("train-*.parquet")):
        parts = [read_parquet(root, split, decode) for split in ("train", "test")]
        class_names = parts[0].class_names
        arrays = [LabelledImages(_stack(part.images), part.labels) for part in parts]
    elif (batches := find_batches(root)) is not None:
        train, test, class_names = read_batches(batches)
        arrays = [
            LabelledImages(_resize_all(images, image_size), labels)
            for images, labels in (train, test)
        ]
    else:
        raise InputError(
            f"cifar10: {root} holds neither train-*.parquet and test-*.parquet, "
            "nor cifar-10-batches-py, nor is it its tar.gz"
        )
    return ImageDataset(arrays[0], arrays[1], class_names, "cifar10")


def load_folder(root: Path, image_size: int = 32) -> ImageDataset:
    """Pictures in one folder a class, under `train/` and `test/` or under `root` itself.

    Without `train/` and `test/`, a seeded stratified fifth of the pictures is the test set.
    Pictures are turned as their EXIF says, cropped to the centre square and resized.
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
                f"{source}: class {', '.join(differing)} is in only one of train/ and test/; "
                "both need the same class folders"
            )
        train = _read_class_folders(root / "train", class_names, image_size)
        test = _read_class_folders(root / "test", class_names, image_size)
        return ImageDataset(train, test, class_names, source)
    class_names = _class_folders(root)
    everything = _read_class_folders(root, class_names, image_size)
    size = max(len(class_names), round(len(everything) * TEST_FRACTION))
    rest, part = stratified_split(everything.labels, size, seed=SPLIT_SEED)
    return ImageDataset(everything.take(rest), everything.take(part), class_names, source)


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


def _decoder(image_size: int) -> Callable[[bytes], NDArray[np.uint8]]:
    """Bytes of one picture -> its centre square, (image_size, image_size, 3) uint8.

    These are the user's own training files, so any format that Pillow reads is welcome; what
    strangers upload goes through `serve_app.images` instead.
    """
    from PIL import Image, ImageOps

    def decode(data: bytes) -> NDArray[np.uint8]:
        with warnings.catch_warnings(), Image.open(BytesIO(data)) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            upright = ImageOps.exif_transpose(image)
            return fit_to_square(np.asarray(upright.convert("RGB")), image_size)

    return decode


def _class_folders(root: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        raise InputError(
            f"folder: {root} has {len(names)} class folders; expected two or more, "
            "each named for its class and holding its pictures"
        )
    return tuple(names)


def _read_class_folders(root: Path, class_names: tuple[str, ...], size: int) -> LabelledImages:
    files: list[tuple[Path, int]] = []
    for label, name in enumerate(class_names):
        found = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise InputError(
                f"folder: class {name!r} has no picture in {root / name} "
                f"(looked for {', '.join(IMAGE_SUFFIXES)})"
            )
        files += [(path, label) for path in found]
    from PIL import UnidentifiedImageError

    decode = _decoder(size)

    def read(path: Path) -> NDArray[np.uint8]:
        try:
            return decode(path.read_bytes())
        except UnidentifiedImageError as error:
            raise InputError(
                f"folder: {path} can't be read as a picture: its bytes are of no known format"
            ) from error
        except Exception as error:
            raise InputError(f"folder: {path} can't be read as a picture: {error}") from error

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(read, (path for path, _ in files)))
    return LabelledImages(_stack(images), np.array([label for _, label in files], dtype=np.int64))


def _stack(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8)


def _resize_all(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if images.shape[1:3] == (size, size):
        return images
    return _stack([fit_to_square(image, size) for image in images])
