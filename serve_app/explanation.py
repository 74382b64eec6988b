"""POST /v1/explain: where the evidence for a class is, as an overlay or as numbers."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response

from cifar_model.framing import Picture, centre_square
from cifar_model.layers import DEFAULT_LAYER, DEFAULT_METHOD, LayerName, MethodName
from cifar_model.predictor import Explanation as Found
from serve_app.answers import explained_picture, top_predictions
from serve_app.backends import Backend
from serve_app.classification import DEFAULT_TOP_K, TopK
from serve_app.decoding import framed_or_raise, in_thread
from serve_app.images import encode_png
from serve_app.json_response import json_response
from serve_app.models import ModelName, check_unchanged, find_model
from serve_app.problems import Problem
from serve_app.schemas import ERRORS, Explanation
from serve_app.uploads import image_body, read_upload, read_uploads

_PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}


def add_explanation(api: FastAPI, backend: Backend) -> None:
    """Register the endpoint."""
    # What the models that are served now know; of each one its own classes count.
    most_classes = max(len(config.class_names) for config in backend.models.values())
    class_chosen = Query(
        None, ge=0, description="default: the best", json_schema_extra={"maximum": most_classes - 1}
    )

    @api.post(
        "/v1/explain",
        responses={200: {"content": _PNG, "model": Explanation}, **ERRORS},
        openapi_extra=image_body(several=False),
        tags=["classify and explain"],
    )
    async def explain(
        request: Request,
        class_index: int | None = class_chosen,
        layer: LayerName = DEFAULT_LAYER,
        method: MethodName = DEFAULT_METHOD,
        opacity: Annotated[float, Query(ge=0, le=1)] = 0.5,
        top_k: TopK = DEFAULT_TOP_K,
        model: ModelName = None,
    ) -> Response:
        """Show where the evidence for a class is: a PNG overlay, or the Grad-CAM map as JSON.

        Send `Accept: application/json` for the map and the predictions.
        """
        name, config = find_model(backend, model)
        if class_index is not None and class_index >= len(config.class_names):
            raise Problem(
                422,
                "invalid_parameter",
                f"class_index: {class_index}, the model's classes go from 0 "
                f"to {len(config.class_names) - 1}",
            )

        async def evidence(square: Picture) -> Found:
            found = await backend.explain(square, class_index, layer, method=method, model=name)
            check_unchanged(backend, name, config)
            return found

        if "application/json" not in request.headers.get("accept", ""):
            async with read_upload(request, config.image_size) as (picture, framed):
                found = await evidence(framed.square)
                png = await in_thread(
                    framed.height * framed.width,
                    lambda: encode_png(explained_picture(picture, found, opacity)),
                )
            return Response(png, media_type="image/png")
        (upload,) = await read_uploads(request, config.image_size, most=1)
        framed = framed_or_raise(upload.found)
        found = await evidence(framed.square)
        top, left, side = centre_square(framed.height, framed.width)
        return json_response(
            {
                "model": name,
                "predictions": top_predictions(found.probabilities, config.class_names, top_k),
                "class_index": found.class_index,
                "label": config.class_names[found.class_index],
                "layer": found.layer,
                "method": found.method,
                "map": np.round(found.map, 5),
                "square": {"top": top, "left": left, "side": side},
            }
        )
