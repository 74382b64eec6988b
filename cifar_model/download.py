"""The official CIFAR-10 archive: fetched once into the cache, with a progress bar and a checksum.

The cache is `~/.cache/ray-cifar` (`XDG_CACHE_HOME` is honoured).
"""

from __future__ import annotations

import os
from pathlib import Path

from cifar_model.errors import InputError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
MD5 = "c58f30108f718f92721af3b95e74349a"  # published beside the archive
ARCHIVE = "cifar-10-python.tar.gz"


def cache_folder() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "ray-cifar"


def fetch_cifar10(url: str = URL, md5: str = MD5, cache: Path | None = None) -> Path:
    """Path of the checked archive in the cache, downloaded if it is not there yet.

    The archive appears whole: it is fetched beside its place, checked, then renamed.
    """
    from torchvision.datasets.utils import check_integrity, download_url

    folder = cache or cache_folder()
    target = folder / ARCHIVE
    if check_integrity(str(target), md5):
        return target
    partial = folder / f"{ARCHIVE}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"Downloading CIFAR-10 from {url} to {target}", flush=True)
        download_url(url, str(folder), partial.name, md5)
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"cifar10: could not get {url}: {error}. Set CIFAR10_DIR to a copy "
            "(parquet folder, cifar-10-batches-py or its tar.gz)"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return target
