"""LitServe over our prepared forward pass, with its own batching.

python -m jobs.rivals.litserve_prepared --model cifar_model/pretrained/resnet9-cifar10 --port 8001
"""

# No `from __future__ import annotations`: LitServe hands the annotation of a request on to FastAPI,
# which could not look up a name of this file.
from pathlib import Path
from typing import Annotated, Any

import litserve
import numpy as np
from fastapi import Body
from numpy.typing import NDArray

from cifar_model.predictor import Predictor
from jobs.rivals.answers import decode, named
from jobs.rivals.command import options, threads_each

MAX_BATCH = 32
BATCH_TIMEOUT_S = 0.005

Jpeg = Annotated[bytes, Body(media_type="image/jpeg")]


class Classify(litserve.LitAPI):
    """The model in a worker process of LitServe's."""

    def __init__(self, folder: Path, threads: int) -> None:
        super().__init__(
            max_batch_size=MAX_BATCH, batch_timeout=BATCH_TIMEOUT_S, api_path="/classify"
        )
        self.folder, self.threads = folder, threads

    def setup(self, device: str) -> None:
        """Load the model."""
        self.predictor = Predictor.load(self.folder, engine="auto", threads=self.threads)

    def decode_request(self, request: Jpeg) -> NDArray[np.uint8]:
        """One picture."""
        return decode(request, self.predictor.config.image_size)

    def predict(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (B, K) of the batch (B, S, S, 3) that LitServe has stacked."""
        return self.predictor.probabilities(x)

    def encode_response(self, output: NDArray[np.float32]) -> dict[str, Any]:
        """The answer to one request."""
        return named(output, self.predictor.class_names)


def main() -> None:
    """Serve until stopped."""
    chosen = options()
    api = Classify(chosen.model, threads_each(chosen.workers))
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=chosen.workers, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=chosen.port,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )


if __name__ == "__main__":
    main()
