"""The models in the replicas of Serve, asked by handle; what fails there, in the words of here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
)

from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_METHOD
from cifar_model.model_config import ModelConfig
from cifar_model.predictor import Explanation
from serve_app.problems import RETRY_AFTER_S, Problem

READY_WITHIN_S = 2.0


class ServeHandles:
    """See `backends.Backend`."""

    def __init__(self, models: Mapping[str, ModelConfig], classifier: Any, explainer: Any) -> None:
        self.models = models
        self._classifier, self._explainer = classifier, explainer

    async def logits(
        self, squares: NDArray[np.uint8], *, model: str | None = None
    ) -> NDArray[np.float32]:
        """See `Backend`."""
        with own_errors():
            return await self._classifier.logits.remote(squares, model)

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
        with own_errors():
            return await self._explainer.explain.remote(square, class_index, layer, method, model)

    async def ready(self, model: str | None = None) -> bool:
        """See `Backend`: both kinds of replicas, which exist only once their model has run."""
        servers = self._classifier, self._explainer
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                return all(await asyncio.gather(*(s.ready.remote(model) for s in servers)))
        except Exception:
            return False


@contextmanager
def own_errors() -> Iterator[None]:
    """Around a call by handle: what a replica said, as it said it; 503 if none could answer."""
    try:
        yield
    except RayTaskError as error:
        # Ray raises a class of its own, whose text is the traceback over there.
        if isinstance(error.cause, Problem | InputError):
            raise error.cause from None
        raise
    except (
        RayActorError,
        BackPressureError,
        DeploymentUnavailableError,
        ReplicaUnavailableError,
    ) as error:
        words = "the model's replicas do not answer; try again"
        raise Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S) from error
