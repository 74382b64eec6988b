"""Where answers come from: one small interface, and the models in this process behind it.

The HTTP endpoints and the page are written against `Backend` and run over these models or over
`serve_handles`. Pictures reach it framed: squares (S, S, 3) of the side that the model sees.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_LAYER, DEFAULT_METHOD
from cifar_model.model_config import ModelConfig
from cifar_model.predictor import Explanation, FolderChanged, Predictor
from serve_app.batching import Batcher
from serve_app.problems import RETRY_AFTER_S, Problem
from serve_app.slow_lane import SlowLane

LOG = logging.getLogger(__name__)
# Explanations that take a backward pass, about 50 ms each: the last waits for a second or two.
MOST_EXPLANATIONS_WAITING = 32


class Backend(Protocol):
    """Models that classify and explain framed pictures; `model=None` is the first of them."""

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        """Name -> config of every served model; the first is the default."""

    async def logits(
        self, squares: NDArray[np.uint8], *, model: str | None = None
    ) -> NDArray[np.float32]:
        """Logits (B, K) of framed pictures (B, S, S, 3)."""

    async def explain(
        self,
        square: Picture,
        class_index: int | None,
        layer: str,
        *,
        method: str = DEFAULT_METHOD,
        model: str | None = None,
    ) -> Explanation:
        """A map over the square; None explains the most probable class."""

    async def ready(self, model: str | None = None) -> bool:
        """Whether a request to this model would be answered now."""


class Running:
    """A loaded model with the batcher in front of it. limit, observe: see `batching`."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        limit: int | None = None,
        observe: Callable[[int], object] | None = None,
    ) -> None:
        self.predictor = predictor
        self.batcher = Batcher(predictor.engine, limit=limit, observe=observe)

    def __del__(self) -> None:
        self.batcher.close()


class InProcess:
    """Models in this process, whose forward passes are batched over all requests.

    predictors: the models that are loaded.
    """

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self.models: Mapping[str, ModelConfig] = {
            name: predictor.config for name, predictor in predictors.items()
        }
        running = {name: Running(predictor) for name, predictor in predictors.items()}

        async def find(name: str) -> Running:
            return running[name]

        async def usable(name: str) -> bool:
            return name in running

        self._slow_lane = SlowLane(MOST_EXPLANATIONS_WAITING)
        self._find: Callable[[str], Awaitable[Running]] = find
        self._usable: Callable[[str], Awaitable[bool]] = usable

    @classmethod
    def on_demand(
        cls,
        models: Mapping[str, ModelConfig],
        find: Callable[[str], Awaitable[Running]],
        usable: Callable[[str], Awaitable[bool]],
    ) -> InProcess:
        """Over models that `find` loads when they are first asked for.

        usable: whether it could; asking loads nothing.
        """
        backend = cls({})
        backend.models, backend._find, backend._usable = models, find, usable
        return backend

    async def logits(
        self, squares: NDArray[np.uint8], *, model: str | None = None
    ) -> NDArray[np.float32]:
        """See `Backend`."""
        running = await self._running(model, squares.shape[1])
        return (await running.batcher(squares)).logits_BK

    async def explain(
        self,
        square: Picture,
        class_index: int | None,
        layer: str,
        *,
        method: str = DEFAULT_METHOD,
        model: str | None = None,
    ) -> Explanation:
        """See `Backend`."""
        running = await self._running(model, square.shape[0])
        found = await running.batcher(square[None])
        explain = running.predictor.explain_from
        if (layer, method) == (DEFAULT_LAYER, DEFAULT_METHOD):
            return explain(found, square, class_index, layer, method)
        try:
            # The package takes a backward pass, one at a time.
            return await self._slow_lane(lambda: explain(found, square, class_index, layer, method))
        except FolderChanged as error:
            LOG.warning("%s", error)
            raise folder_changed(model or next(iter(self.models))) from error

    async def ready(self, model: str | None = None) -> bool:
        """See `Backend`."""
        return model is None or await self._usable(model)

    async def _running(self, model: str | None, side: int) -> Running:
        """The model, which is given squares of this side; `Problem` if it sees others by now."""
        name = model or next(iter(self.models))
        running = await self._find(name)
        # Squares of two sides make no batch: the neighbours would fail with it.
        if running.predictor.config.image_size != side:
            raise replaced(name)
        return running


def replaced(name: str) -> Problem:
    """What is answered where a model was exported anew while it was asked."""
    words = f"model {name!r} was replaced while it was asked; try again"
    return Problem(503, "model_unavailable", words, retry_after_s=RETRY_AFTER_S)


def folder_changed(name: str) -> Problem:
    """What is answered where the model goes on being served and its files are no longer there."""
    words = (
        f"the folder of model {name!r} no longer holds what is served under this name, so that it "
        f"can be explained only at layer {DEFAULT_LAYER} by method {DEFAULT_METHOD}"
    )
    return Problem(503, "model_unavailable", words, retry_after_s=RETRY_AFTER_S)
