"""Which models are served: one folder by default, and all in a folder of exported models."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.model_config import CONFIG, ModelConfig, read_config

LOG = logging.getLogger(__name__)
RESCAN_SECONDS = 2.0  # a name that nobody knows makes the folder be read again, but not more often


class Catalog(Mapping[str, ModelConfig]):
    """Names of models -> their configs, the default one first; and their folders.

    default: the model folder that answers when no name is given.
    folder: its subfolders (and their `model/`, as runs have it) that hold a model are served too,
        also those that appear later. A request names a model; it never names a path.
    """

    def __init__(self, default: Path, folder: Path | None = None) -> None:
        config = read_config(default)
        self._configs: dict[str, ModelConfig] = {config.name: config}
        self.folders: dict[str, Path] = {config.name: default}
        self._folder, self._scanned = folder, 0.0
        if folder is not None and not folder.is_dir():
            raise InputError(f"--models {folder}: no such folder")
        self.rescan()

    def __getitem__(self, name: str) -> ModelConfig:
        return self._configs[name]

    def __iter__(self) -> Iterator[str]:
        # A copy: another request may add models meanwhile.
        return iter(list(self._configs))

    def __len__(self) -> int:
        return len(self._configs)

    def knows(self, name: str) -> bool:
        """Whether a model has this name, after another look at the folder if need be."""
        if name not in self._configs and time.monotonic() - self._scanned > RESCAN_SECONDS:
            self.rescan()
        return name in self._configs

    def rescan(self) -> None:
        """Add the models that have appeared in the folder; those known stay as they are."""
        self._scanned = time.monotonic()
        if self._folder is None:
            return
        places = [p for entry in sorted(self._folder.iterdir()) for p in (entry, entry / "model")]
        for place in places:
            if place.name.startswith(".") or not (place / CONFIG).is_file():
                continue
            try:
                config = read_config(place)
            except InputError as error:
                # One damaged folder must not keep the others from being served.
                LOG.warning("%s", error)
                continue
            if config.name not in self._configs:
                self._configs[config.name], self.folders[config.name] = config, place
