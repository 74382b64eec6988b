"""Whether a served model's files are in order, found out before another makes way for it."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import NamedTuple

from cifar_model.errors import InputError
from cifar_model.model_config import ModelConfig, read_config, same_model
from cifar_model.weights import read_weights
from serve_app.catalog import Catalog
from serve_app.models import unknown_model
from serve_app.problems import Problem

LOG = logging.getLogger(__name__)
TRIED_AGAIN_AFTER_S = 5.0


class _Looked(NamedTuple):
    version: str
    in_order: bool
    at: float  # time.monotonic


class ModelFiles:
    """Looks at each version of a model's files once; again at what was not in order."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._looked: dict[str, _Looked] = {}

    async def in_order(self, name: str) -> bool:
        """Whether the model could be loaded now; `Problem` if there is none of this name."""
        if name == self._catalog.default:
            return True  # it was loaded at the start
        # Who asks by handle has a catalog of its own, which may be ahead of this one.
        if not self._catalog.knows(name):
            raise unknown_model(name)
        version, now = self._catalog.version(name), time.monotonic()
        last = self._looked.get(name)
        if (
            last is None
            or last.version != version
            or not (last.in_order or now < last.at + TRIED_AGAIN_AFTER_S)
        ):
            last = _Looked(version, await asyncio.to_thread(self._look, name), now)
            self._looked[name] = last
        return last.in_order

    def _look(self, name: str) -> bool:
        folder = self._catalog.folders[name]
        try:
            config = read_config(folder)
            check_same(self._catalog, name, config)
            read_weights(folder, config)
        except (InputError, OSError) as error:
            LOG.warning("%s", error)
            return False
        return True


def check_same(catalog: Catalog, name: str, config: ModelConfig) -> None:
    """InputError if the config in a model's folder is not that of the model which is asked for."""
    if config.name != name:
        raise InputError(f"model {name}: its folder holds {config.name} now")
    if config.class_names != catalog[name].class_names:
        raise InputError(f"model {name}: its folder is being written")


def why_not_its_own(folder: Path, config: ModelConfig) -> str | None:
    """One sentence on why what lies in a folder is not this model's; None where it is.

    The default model is served as it was at the start, whatever becomes of its folder.
    """
    try:
        if same_model(read_config(folder), config):
            return None
    except InputError as error:
        LOG.warning("%s", error)
    return "The folder of this model no longer holds it; what lies there now is not shown."


def unavailable(name: str) -> Problem:
    """What is answered while a model's files are not in order; the log says why."""
    words = f"model {name!r} can't be loaded at present; try again, or name another"
    return Problem(503, "model_unavailable", words, retry_after_s=round(TRIED_AGAIN_AFTER_S))
