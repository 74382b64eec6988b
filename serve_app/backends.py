"""Where answers come from: one small interface over the model in this process or behind Serve.

The HTTP endpoints and the page are written against `Backend` and run over either.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cifar_model.framing import Picture, fit_to_square
from cifar_model.model_config import ModelConfig
from cifar_model.predictor import Explanation, Predictor


class Backend(Protocol):
    """One model that classifies and explains pictures of any size."""

    config: ModelConfig

    async def classify(self, picture: Picture) -> NDArray[np.float32]:
        """Probabilities (K,) of a picture (H, W, 3)."""

    async def explain(self, picture: Picture, class_index: int | None, layer: str) -> Explanation:
        """Grad-CAM over the picture's centre square; None explains the most probable class."""

    async def ready(self) -> bool:
        """Whether a request would be answered now."""


class InProcess:
    """The model in this process; its work runs on a thread, off the event loop."""

    def __init__(self, predictor: Predictor) -> None:
        self.config = predictor.config
        self._predictor = predictor

    async def classify(self, picture: Picture) -> NDArray[np.float32]:
        """See `Backend`."""
        return await asyncio.to_thread(
            lambda: self._predictor.probabilities([self._frame(picture)])[0]
        )

    async def explain(self, picture: Picture, class_index: int | None, layer: str) -> Explanation:
        """See `Backend`."""
        return await asyncio.to_thread(
            lambda: self._predictor.explain(
                self._frame(picture), class_index=class_index, layer=layer
            )
        )

    async def ready(self) -> bool:
        """See `Backend`."""
        return True

    def _frame(self, picture: Picture) -> Picture:
        return fit_to_square(picture, self.config.image_size)


class ServeHandles:
    """The model in Serve's replicas; a picture is framed here, so only the small square travels."""

    def __init__(self, config: ModelConfig, classifier: Any, explainer: Any) -> None:
        self.config = config
        self._classifier, self._explainer = classifier, explainer

    async def classify(self, picture: Picture) -> NDArray[np.float32]:
        """See `Backend`."""
        return await self._classifier.classify.remote(await self._frame(picture))

    async def explain(self, picture: Picture, class_index: int | None, layer: str) -> Explanation:
        """See `Backend`."""
        framed = await self._frame(picture)
        return await self._explainer.explain.remote(framed, class_index, layer)

    async def ready(self) -> bool:
        """See `Backend`."""
        blank = np.zeros((self.config.image_size, self.config.image_size, 3), np.uint8)
        try:
            async with asyncio.timeout(2):
                await asyncio.gather(self.classify(blank), self._explainer.ready.remote())
        except Exception:
            return False
        return True

    async def _frame(self, picture: Picture) -> Picture:
        return await asyncio.to_thread(fit_to_square, picture, self.config.image_size)
