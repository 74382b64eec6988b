"""FastAPI over our prepared forward pass, one picture a call.

python -m jobs.rivals.fastapi_prepared --model cifar_model/pretrained/resnet9-cifar10 --port 8001
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from cifar_model.predictor import Predictor
from jobs.rivals.answers import decode, named
from jobs.rivals.command import model_folder, serve, threads


def create_app() -> FastAPI:
    """The application over the model in this process."""
    predictor = Predictor.load(model_folder(), engine="auto", threads=threads())
    size = predictor.config.image_size
    app = FastAPI()

    def predict(data: bytes) -> dict[str, Any]:
        probabilities = predictor.probabilities([decode(data, size)])[0]
        return named(probabilities, predictor.class_names)

    @app.post("/classify")
    async def classify(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(predict, await request.body())

    return app


if __name__ == "__main__":
    serve("jobs.rivals.fastapi_prepared:create_app")
