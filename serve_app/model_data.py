"""The data a model was trained on, read for the page: only where it lies on this machine already.

Nothing is downloaded here; `why_unreadable` says what command or setting makes the data readable.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from threading import Lock

from cifar_model.dataset import ImageDataset
from cifar_model.download import ARCHIVE, cache_folder
from cifar_model.errors import InputError
from cifar_model.given_path import given_path
from cifar_model.model_config import ModelConfig
from cifar_model.sources import list_source, load_source
from serve_app.commands import jobs_are_here

MOST_BYTES = 2**32  # that decoded images may take; beyond, training streams them
_ONE_READS = Lock()  # whoever asks meanwhile gets what that one has read


def why_unreadable(config: ModelConfig) -> str | None:
    """One sentence on why the model's data can't be shown here; None where it can."""
    source, data = config.data.source, config.data
    images = data.train_images + data.val_images + data.test_images
    if _too_many(images, config.image_size):
        return f"This model was trained on `{source}`, {images:,} images: too many to show here."
    kind, _, argument = source.partition(":")
    if kind in ("folder", "parquet"):
        if given_path(argument).is_dir():
            return None
        return f"This model was trained on the folder `{argument}`, which is not on this machine."
    if source == "digits":
        if find_spec("sklearn"):
            return None
        return "The digits come with scikit-learn: `pip install scikit-learn`."
    named = os.environ.get("CIFAR10_DIR")
    if (given_path(named) if named else cache_folder() / ARCHIVE).exists():
        return None
    words = "CIFAR-10 is not on this machine. Set `CIFAR10_DIR` to a copy before starting"
    if jobs_are_here():
        words += ", or run `python -m jobs.evaluate --model MODEL`, which downloads it"
    return f"{words}."


def read_data(source: str, image_size: int) -> ImageDataset:
    """The data set; the one read last is kept in memory. InputError if it can't be used."""
    with _ONE_READS:
        return _read(source, image_size)


@lru_cache(maxsize=1)
def _read(source: str, image_size: int) -> ImageDataset:
    if source.partition(":")[0] in ("folder", "parquet"):
        # A model may have been trained on a part of them, and there may be more by now.
        listed = list_source(source, image_size=image_size)
        images = len(listed.train) + len(listed.test)
        if _too_many(images, image_size):
            raise InputError(f"{source} has {images:,} images: too many to show here")
    return load_source(source, image_size=image_size)


def _too_many(images: int, image_size: int) -> bool:
    return images * image_size**2 * 3 > MOST_BYTES
