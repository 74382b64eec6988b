"""What runs in Serve's replicas: the classifier, the explainer, and the ingress before them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ray import serve

from cifar_model.framing import Picture
from cifar_model.layers import DEFAULT_LAYER
from cifar_model.predictor import Explanation, Predictor

MAX_BATCH = 32
BATCH_WAIT_S = 0.002


def load_warm(model: str, cores: int) -> Predictor:
    """The model of a folder, with as many threads as the replica has cores, and run once."""
    import torch

    torch.set_num_threads(cores)
    predictor = Predictor.load(Path(model))
    size = predictor.config.image_size
    blank = np.zeros((size, size, 3), np.uint8)
    predictor.probabilities([blank])
    predictor.probabilities([blank] * MAX_BATCH)
    return predictor


# max_ongoing_requests: under the batch size it would silently shrink batches; two batches' worth
# lets one fill while the other runs.
@serve.deployment(max_ongoing_requests=2 * MAX_BATCH, max_queued_requests=1024)
class Classifier:
    """Probabilities of framed pictures, a batch at a time."""

    def __init__(self, model: str, cores: int = 1) -> None:
        self._predictor = load_warm(model, cores)
        # One thread runs the model: the event loop stays free to gather the next batch.
        self._runner = ThreadPoolExecutor(max_workers=1)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=BATCH_WAIT_S)
    async def classify(self, framed: list[Picture]) -> list[NDArray[np.float32]]:
        """One picture (S, S, 3) -> its probabilities (K,); Serve gathers the batch."""
        loop = asyncio.get_running_loop()
        return list(await loop.run_in_executor(self._runner, self._predictor.probabilities, framed))


@serve.deployment(max_ongoing_requests=16, max_queued_requests=256)
class Explainer:
    """Grad-CAM maps of framed pictures, one at a time."""

    def __init__(self, model: str, cores: int = 1) -> None:
        self._predictor = load_warm(model, cores)
        size = self._predictor.config.image_size
        self._predictor.explain(np.zeros((size, size, 3), np.uint8), layer=DEFAULT_LAYER)

    async def explain(
        self, framed: Picture, class_index: int | None, layer: str, method: str
    ) -> Explanation:
        """Grad-CAM of one picture (S, S, 3); None explains the most probable class."""
        return await asyncio.to_thread(
            lambda: self._predictor.explain(
                framed, class_index=class_index, layer=layer, method=method
            )
        )

    async def ready(self) -> bool:
        """True: the replica exists only once its model has run."""
        return True
