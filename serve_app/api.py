"""The HTTP endpoints, over any Backend."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from starlette.datastructures import UploadFile

from cifar_model.framing import Picture, centre_square
from cifar_model.layers import DEFAULT_LAYER, EXPLAINABLE_LAYERS, LayerName
from serve_app.answers import explained_picture, top_predictions
from serve_app.backends import Backend
from serve_app.body_limit import limit_bodies
from serve_app.images import MAX_BYTES, decode_image, encode_png
from serve_app.problems import Problem, install_handlers
from serve_app.schemas import (
    Classification,
    Error,
    Explanation,
    ModelDescription,
    ModelList,
    Square,
    Status,
)

# A form around a picture of the largest size needs a little more than the picture.
MAX_BODY = MAX_BYTES + 64 * 1024
DEFAULT_TOP_K = 5

_BINARY = {"type": "string", "format": "binary"}
_IMAGE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A PNG, JPEG or WebP picture, as a form field `file` or as the body itself.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": _BINARY},
                }
            },
            "image/png": {"schema": _BINARY},
            "image/jpeg": {"schema": _BINARY},
            "image/webp": {"schema": _BINARY},
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "the image is missing or damaged"},
    413: {"model": Error, "description": "the image is too large"},
    415: {"model": Error, "description": "not an image of a known format"},
    422: {"model": Error, "description": "a parameter is out of range"},
}
TopK = Annotated[int, Query(ge=1, le=1000, description="how many classes to name, best first")]


def build_api(backend: Backend) -> FastAPI:
    """The FastAPI application; the page is mounted into it elsewhere."""
    config = next(iter(backend.models.values()))
    api = FastAPI(
        title="Image classifier",
        version="1",
        description=f"Classifies pictures with {config.name} and explains its answers.",
    )
    limit_bodies(api, MAX_BODY)
    install_handlers(api)

    @api.post(
        "/v1/classify", response_model=Classification, openapi_extra=_IMAGE_BODY, responses=_ERRORS
    )
    async def classify(request: Request, top_k: TopK = DEFAULT_TOP_K) -> Classification:
        """Name the classes of a picture, best first."""
        probabilities = await backend.classify(await read_picture(request))
        predictions = top_predictions(probabilities, config.class_names, top_k)
        return Classification(model=config.name, predictions=predictions)

    @api.post(
        "/v1/explain",
        response_model=Explanation,
        openapi_extra=_IMAGE_BODY,
        responses={
            **_ERRORS,
            200: {"content": {"image/png": {"schema": _BINARY}}, "model": Explanation},
        },
    )
    async def explain(
        request: Request,
        class_index: Annotated[int | None, Query(ge=0, description="default: the best")] = None,
        layer: LayerName = DEFAULT_LAYER,
        opacity: Annotated[float, Query(ge=0, le=1)] = 0.5,
        top_k: TopK = DEFAULT_TOP_K,
    ) -> Response | Explanation:
        """Show where the evidence for a class is: a PNG overlay, or the Grad-CAM map as JSON.

        Send `Accept: application/json` for the map and the predictions.
        """
        if class_index is not None and class_index >= len(config.class_names):
            raise Problem(
                422,
                "invalid_parameter",
                f"class_index: {class_index}, the model's classes go from 0 "
                f"to {len(config.class_names) - 1}",
            )
        picture = await read_picture(request)
        found = await backend.explain(picture, class_index, layer)
        if "application/json" not in request.headers.get("accept", ""):
            png = await asyncio.to_thread(
                lambda: encode_png(explained_picture(picture, found, opacity))
            )
            return Response(png, media_type="image/png")
        top, left, side = centre_square(*picture.shape[:2])
        return Explanation(
            model=config.name,
            predictions=top_predictions(found.probabilities, config.class_names, top_k),
            class_index=found.class_index,
            label=config.class_names[found.class_index],
            layer=found.layer,
            map=[[round(value, 5) for value in row] for row in found.map.tolist()],
            square=Square(top=top, left=left, side=side),
        )

    @api.get("/v1/models", response_model=ModelList)
    async def models() -> ModelList:
        """The models that are served."""
        description = ModelDescription(
            name=config.name,
            class_names=list(config.class_names),
            image_size=config.image_size,
            layers=list(EXPLAINABLE_LAYERS),
            metrics=config.metrics,
        )
        return ModelList(models=[description])

    @api.get("/healthz", response_model=Status)
    async def healthz() -> Status:
        """200 while the server lives."""
        return Status(status="ok")

    @api.get("/readyz", response_model=Status, responses={503: {"model": Error}})
    async def readyz() -> Status:
        """200 when a picture sent now would be answered."""
        if not await backend.ready():
            raise Problem(503, "not_ready", "the model's replicas do not answer yet; try again")
        return Status(status="ok")

    # The page is mounted at "/", and would answer these in its own way.
    @api.api_route("/v1/{path:path}", methods=["GET", "POST"], include_in_schema=False)
    async def unknown(request: Request, path: str) -> Response:
        if any(getattr(route, "path", None) == f"/v1/{path}" for route in api.routes):
            raise Problem(405, "method_not_allowed", f"/v1/{path} is asked by another method")
        raise Problem(404, "not_found", f"no endpoint /v1/{path}; /docs lists them")

    return api


async def read_picture(request: Request) -> Picture:
    """The picture of a request, decoded off the event loop; `Problem` if there is none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        async with request.form(max_files=1, max_fields=8) as form:
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise Problem(400, "missing_file", "the form has no file field named 'file'")
            data = await file.read()
    elif kind.startswith("image/") or kind in ("", "application/octet-stream"):
        data = await request.body()
    else:
        raise Problem(
            415,
            "unsupported_media_type",
            f"content type {kind}: send multipart/form-data with a field 'file', "
            "or the bytes of a picture as image/png, image/jpeg or image/webp",
        )
    return await asyncio.to_thread(decode_image, data)
