"""The model served as one would first write it: FastAPI, eager PyTorch, one picture a call.

    python -m jobs.rivals.fastapi_eager --model cifar_model/pretrained/resnet9-cifar10 --port 8001

`/explain` is Grad-CAM through the grad-cam package, in the same place.
"""

from __future__ import annotations

import threading
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from pytorch_grad_cam import GradCAM

from cifar_model.layers import DEFAULT_LAYER
from cifar_model.model_folder import load_model
from cifar_model.native_bf16 import has_native_bf16
from cifar_model.normalisation import normalise
from jobs.rivals.answers import decode, named
from jobs.rivals.command import model_folder, serve, threads


def create_app() -> FastAPI:
    """The application over the model in this process."""
    torch.set_num_threads(threads())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network, config = load_model(model_folder())
    dtype = torch.bfloat16 if has_native_bf16(device.type) else torch.float32
    network = network.to(device, dtype)
    # The package needs gradients and float32; it keeps its state on itself, so one call at a time.
    explained = load_model(model_folder())[0].to(device)
    cam = GradCAM(explained, [explained.get_submodule(DEFAULT_LAYER)])
    cam_lock = threading.Lock()
    app = FastAPI()

    def images(data: bytes) -> torch.Tensor:
        square = torch.from_numpy(decode(data, config.image_size)[None].copy())
        return normalise(square.to(device), config.normalisation)

    def predict(data: bytes) -> dict[str, Any]:
        with torch.inference_mode():
            probabilities = network(images(data).to(dtype)).float().softmax(1)[0]
        return named(probabilities.cpu().numpy(), config.class_names)

    def explain_best(data: bytes) -> dict[str, Any]:
        with cam_lock:
            maps = cam(images(data), None)  # None: of the most probable class
            probabilities = cam.outputs.detach().softmax(1)[0]
        answer = named(probabilities.cpu().numpy(), config.class_names)
        return {**answer, "map": maps[0].round(5).tolist()}

    @app.post("/classify")
    async def classify(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(predict, await request.body())

    @app.post("/explain")
    async def explain(request: Request) -> dict[str, Any]:
        return await run_in_threadpool(explain_best, await request.body())

    return app


if __name__ == "__main__":
    serve("jobs.rivals.fastapi_eager:create_app")
