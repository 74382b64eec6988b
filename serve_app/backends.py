"""Where answers come from: one small interface over models in this process or behind Serve.

The HTTP endpoints and the page are written against `Backend` and run over either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture, fit_to_square
from cifar_model.layers import DEFAULT_METHOD
from cifar_model.model_config import ModelConfig
from cifar_model.predictor import Explanation, Predictor


class Backend(Protocol):
    """Models that classify and explain pictures of any size; `model=None` is the first of them."""

    @property
    def models(self) -> Mapping[str, ModelConfig]:
        """Name -> config of every served model; the first is the default."""

    async def classify(self, picture: Picture, *, model: str | None = None) -> NDArray[np.float32]:
        """Probabilities (K,) of a picture (H, W, 3)."""

    async def explain(
        self,
        picture: Picture,
        class_index: int | None,
        layer: str,
        *,
        method: str = DEFAULT_METHOD,
        model: str | None = None,
    ) -> Explanation:
        """A map over the picture's centre square; None explains the most probable class."""

    async def ready(self) -> bool:
        """Whether a request would be answered now."""


class InProcess:
    """Models in this process; their work runs on threads, off the event loop."""

    def __init__(self, predictors: Mapping[str, Predictor]) -> None:
        self.models = {name: predictor.config for name, predictor in predictors.items()}
        self._predictors = dict(predictors)

    async def classify(self, picture: Picture, *, model: str | None = None) -> NDArray[np.float32]:
        """See `Backend`."""
        predictor = self._predictor(model)
        return await asyncio.to_thread(
            lambda: predictor.probabilities([_frame(picture, predictor.config)])[0]
        )

    async def explain(
        self,
        picture: Picture,
        class_index: int | None,
        layer: str,
        *,
        method: str = DEFAULT_METHOD,
        model: str | None = None,
    ) -> Explanation:
        """See `Backend`."""
        predictor = self._predictor(model)
        return await asyncio.to_thread(
            lambda: predictor.explain(
                _frame(picture, predictor.config),
                class_index=class_index,
                layer=layer,
                method=method,
            )
        )

    async def ready(self) -> bool:
        """See `Backend`."""
        return True

    def _predictor(self, model: str | None) -> Predictor:
        return self._predictors[model or next(iter(self._predictors))]


class ServeHandles:
    """One model in Serve's replicas; a picture is framed here, so that only the square travels."""

    def __init__(self, config: ModelConfig, classifier: Any, explainer: Any) -> None:
        self.models = {config.name: config}
        self._config = config
        self._classifier, self._explainer = classifier, explainer

    async def classify(self, picture: Picture, *, model: str | None = None) -> NDArray[np.float32]:
        """See `Backend`."""
        framed = await asyncio.to_thread(_frame, picture, self._config)
        return await self._classifier.classify.remote(framed)

    async def explain(
        self,
        picture: Picture,
        class_index: int | None,
        layer: str,
        *,
        method: str = DEFAULT_METHOD,
        model: str | None = None,
    ) -> Explanation:
        """See `Backend`."""
        framed = await asyncio.to_thread(_frame, picture, self._config)
        return await self._explainer.explain.remote(framed, class_index, layer, method)

    async def ready(self) -> bool:
        """See `Backend`."""
        blank = np.zeros((self._config.image_size, self._config.image_size, 3), np.uint8)
        try:
            async with asyncio.timeout(2):
                await asyncio.gather(self.classify(blank), self._explainer.ready.remote())
        except Exception:
            return False
        return True


def _frame(picture: Picture, config: ModelConfig) -> Picture:
    return fit_to_square(picture, config.image_size)
