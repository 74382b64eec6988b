"""Which models are served: one folder by default, and all in a folder of exported models."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.model_config import CONFIG, ModelConfig, read_config
from cifar_model.model_folder import model_places
from cifar_model.weights import WEIGHTS

LOG = logging.getLogger(__name__)
RESCAN_SECONDS = 2.0  # the folder is read again when it is asked about, but not more often


class Catalog(Mapping[str, ModelConfig]):
    """Names of models -> their configs, the default one first; and their folders.

    default: the model folder that answers when no name is given. It is served as it was at the
        start; `python -m serve_app --update` replaces it.
    folder: its subfolders (and their `model/`, as runs have it) that hold a model are served too,
        also those that appear or are exported anew later. A request names a model; it never names a
        path.
    """

    def __init__(self, default: Path, folder: Path | None = None) -> None:
        config = read_config(default)
        self.default = config.name
        self._configs: dict[str, ModelConfig] = {config.name: config}
        self.folders: dict[str, Path] = {config.name: default}
        self._versions: dict[str, str] = {config.name: version_of(default)}
        # As read last from each place; None for a config that can't be used.
        self._read: dict[Path, tuple[str, ModelConfig | None]] = {}
        self._folder, self._scanned = folder, 0.0
        if folder is not None and not folder.is_dir():
            raise InputError(f"--models {folder}: no such folder")
        self.rescan()

    def __getitem__(self, name: str) -> ModelConfig:
        if name != self.default:
            self.refresh()
        return self._configs[name]

    def __iter__(self) -> Iterator[str]:
        # A copy: another request may add models meanwhile.
        return iter(list(self._configs))

    def __len__(self) -> int:
        return len(self._configs)

    def knows(self, name: str) -> bool:
        """Whether a model has this name, after another look at the folder if need be."""
        if name != self.default:
            self.refresh()
        return name in self._configs

    def version(self, name: str) -> str:
        """What changes when the files of a model do."""
        return self._versions[name]

    def refresh(self) -> None:
        """Read the folder again, unless that was done a moment ago."""
        if time.monotonic() - self._scanned > RESCAN_SECONDS:
            self.rescan()

    def rescan(self) -> None:
        """Add the models that have appeared in the folder, and take over those exported anew."""
        self._scanned = time.monotonic()
        if self._folder is None:
            return
        try:
            places = model_places(self._folder)
        except OSError as error:
            LOG.warning("--models: %s", error)
            return
        for place in places:
            version = version_of(place)
            config = self._config(place, version)
            if config is None:
                continue
            for name, folder in list(self.folders.items()):
                if folder == place and name != config.name:
                    # Another model is there now: whoever looks at the files again finds that out.
                    self._versions[name] = version
            if config.name == self.default:
                continue
            # Of two places that hold the same name the first is served, as long as it holds it.
            known = self.folders.get(config.name, place)
            if known == place or self._lost(known, config.name):
                self._configs[config.name] = config
                self.folders[config.name] = place
                self._versions[config.name] = version

    def _lost(self, place: Path, name: str) -> bool:
        """Whether a place that held this model holds none, or another; damaged it is kept."""
        _, config = self._read.get(place, ("", None))
        return not (place / CONFIG).is_file() or (config is not None and config.name != name)

    def _config(self, place: Path, version: str) -> ModelConfig | None:
        """The config there, read once for each version of it."""
        if place not in self._read or self._read[place][0] != version:
            try:
                self._read[place] = version, read_config(place)
            except InputError as error:
                # One damaged folder must not keep the others from being served.
                LOG.warning("%s", error)
                self._read[place] = version, None
        return self._read[place][1]


def version_of(folder: Path) -> str:
    """Times and sizes of a model's files, as one word; a file that isn't there has its part too."""
    parts = []
    for name in (CONFIG, WEIGHTS):
        try:
            found = (folder / name).stat()
        except OSError:
            parts.append("-")
        else:
            parts.append(f"{found.st_mtime_ns:x}.{found.st_size:x}")
    return "_".join(parts)
