"""The Open Inference Protocol (v2) over HTTP, which clients of KServe and Triton speak.

One input, `images` (UINT8, [N, H, W, 3]); outputs `probabilities` and `logits` (FP32, [N, classes])
and `labels` (BYTES, [N]). Left out: versions of a model, and of the extensions all but binary data.
"""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from fastapi import FastAPI, Path, Request, Response
from numpy.typing import NDArray

from cifar_model.framing import fit_to_square
from cifar_model.predictor import softmax
from serve_app.backends import Backend
from serve_app.inference_schemas import (
    InferenceError,
    InferenceRequest,
    InferenceResponse,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorDescription,
)
from serve_app.models import check_unchanged, find_model
from serve_app.problems import Problem
from serve_app.schemas import ACCESS_WORDS, SLOW_WORDS, error_responses
from serve_app.tensors import Values, decompress, read_inference, write_answer
from serve_app.uploads import MAX_BODY

HEAD_LENGTH = "Inference-Header-Content-Length"
# JSON of this size is read within a millisecond; more of it would keep other requests waiting.
MAX_INLINE = 32 * 1024
TAGS: list[Any] = ["Open Inference Protocol"]
_NOT_READY_WORDS = {503: "not ready, or too busy; try again after `Retry-After` seconds"}
_MODEL_WORDS = {
    404: "there is no such model",
    422: "the name is too long for one",
    **ACCESS_WORDS,
    **_NOT_READY_WORDS,
}
NOT_READY = error_responses(InferenceError, _NOT_READY_WORDS)
ACCESS = error_responses(InferenceError, ACCESS_WORDS)
OF_A_MODEL = error_responses(InferenceError, _MODEL_WORDS)
OF_INFERENCE = error_responses(
    InferenceError,
    {
        400: "the request is damaged, or its parts do not fit together",
        413: "the body is too large",
        415: "the body's Content-Encoding is unknown",
        **SLOW_WORDS,
        **_MODEL_WORDS,
    },
)
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
# A picture of 2x2 pixels: red and green over blue and white.
_COLOURS = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255]
_FOUR_PIXELS = {"name": "images", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": _COLOURS}
EXAMPLES = {
    "everything": {"value": {"inputs": [_FOUR_PIXELS]}},
    "labels": {
        "value": {"id": "42", "inputs": [_FOUR_PIXELS], "outputs": [{"name": "labels"}]},
    },
}


def add_open_inference(api: FastAPI, backend: Backend) -> None:
    """Register all endpoints below /v2."""
    model_name = Path(
        max_length=200,
        description="a name from `/v1/models`",
        openapi_examples={"default": {"value": next(iter(backend.models))}},
    )

    @api.get("/v2", tags=TAGS, responses=ACCESS)
    async def server() -> ServerMetadata:
        """What this server is."""
        extensions = ["binary_tensor_data"]
        return ServerMetadata(name="ray-cifar", version=api.version, extensions=extensions)

    @api.get("/v2/health/live", tags=TAGS)
    async def live() -> Live:
        """200 while the server lives."""
        return Live(live=True)

    @api.get("/v2/health/ready", tags=TAGS, responses=NOT_READY)
    async def ready() -> Ready:
        """200 when the default model would answer now."""
        await check_ready()
        return Ready(live=True, ready=True)

    @api.get("/v2/models/{name}", tags=TAGS, responses=OF_A_MODEL)
    async def metadata(name: str = model_name) -> ModelMetadata:
        """What a model takes and gives."""
        name, config = find_model(backend, name)
        return ModelMetadata(
            name=name,
            platform="pytorch_safetensors",
            inputs=[TensorDescription(name="images", datatype="UINT8", shape=[-1, -1, -1, 3])],
            outputs=[
                *(
                    TensorDescription(
                        name=output, datatype="FP32", shape=[-1, len(config.class_names)]
                    )
                    for output in ("probabilities", "logits")
                ),
                TensorDescription(name="labels", datatype="BYTES", shape=[-1]),
            ],
        )

    @api.get("/v2/models/{name}/ready", tags=TAGS, responses=OF_A_MODEL)
    async def model_ready(name: str = model_name) -> ModelReady:
        """200 when the model would answer now."""
        name, _ = find_model(backend, name)
        await check_ready(name)
        return ModelReady(name=name, ready=True)

    @api.post(
        "/v2/models/{name}/infer",
        tags=TAGS,
        responses={200: {"model": InferenceResponse, "content": _BINARY}, **OF_INFERENCE},
        openapi_extra=_describe_body(),
    )
    async def infer(request: Request, name: str = model_name) -> Response:
        """Classify 1 to 64 pictures of one size.

        Tensors are numbers in the JSON, or bytes after it (the binary data extension): a header
        `Inference-Header-Content-Length` then says where the JSON ends. The body may be compressed
        (gzip or deflate). Parameters other than those listed are ignored, except that
        `classification` and shared memory are refused.
        """
        name, config = find_model(backend, name)
        body = await request.body()
        encoding = request.headers.get("content-encoding", "").strip().lower()
        head_length = request.headers.get(HEAD_LENGTH)

        def read() -> tuple[InferenceRequest, NDArray[np.uint8]]:
            return read_inference(decompress(body, encoding, MAX_BODY), head_length)

        small = len(body) <= MAX_INLINE and not encoding
        wanted, pictures = read() if small else await asyncio.to_thread(read)
        squares = await framed(pictures, config.image_size)
        logits = await backend.logits(squares, model=name)
        check_unchanged(backend, name, config)
        labels = [config.class_names[index] for index in logits.argmax(axis=1)]
        outputs: dict[str, Values] = {
            "probabilities": softmax(logits),
            "logits": logits,
            "labels": labels,
        }
        answer, json_ends = write_answer(wanted, name, outputs)
        if json_ends is None:
            return Response(answer, media_type="application/json")
        headers = {HEAD_LENGTH: str(json_ends)}
        return Response(answer, media_type="application/octet-stream", headers=headers)

    async def check_ready(model: str | None = None) -> None:
        if not await backend.ready(model):
            words = "the model does not answer at present; try again"
            raise Problem(503, "not_ready", words, retry_after_s=1)


async def framed(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The squares (N, size, size, 3) that a model sees of pictures (N, H, W, 3)."""
    if pictures.shape[1:3] == (size, size):
        return pictures
    return await asyncio.to_thread(
        lambda: np.stack([fit_to_square(picture, size) for picture in pictures])
    )


def _describe_body() -> dict[str, Any]:
    """What OpenAPI says of the body, which FastAPI is kept from parsing."""
    schema = InferenceRequest.model_json_schema()
    parts = schema.pop("$defs")

    def inline(value: Any) -> Any:
        if isinstance(value, list):
            return [inline(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inline(parts[value["$ref"].rpartition("/")[2]])
        return {key: inline(item) for key, item in value.items()}

    schema = inline(schema)
    # Without bytes after it, JSON has the numbers in it.
    tensor = schema["properties"]["inputs"]["items"]
    tensor["required"].append("data")
    del tensor["properties"]["parameters"]
    json = {"schema": schema, "examples": EXAMPLES}
    return {
        # Bytes after the JSON, and the header that says where they begin, are in words above: no
        # schema can say which bytes go with which number.
        "requestBody": {"required": True, "content": {"application/json": json}},
    }
