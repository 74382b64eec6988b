"""POST /v1/explain: where the evidence for a class is, as an overlay or as numbers."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response

from cifar_model.framing import centre_square
from cifar_model.layers import DEFAULT_LAYER, DEFAULT_METHOD, LayerName, MethodName
from serve_app.answers import explained_picture, top_predictions
from serve_app.backends import Backend
from serve_app.classification import DEFAULT_TOP_K, TopK
from serve_app.images import encode_png
from serve_app.json_response import json_response
from serve_app.models import ModelName, find_model
from serve_app.problems import Problem
from serve_app.schemas import ERRORS, Explanation
from serve_app.uploads import image_body, read_upload

_PNG: dict[str, Any] = {"image/png": {"schema": {"type": "string", "format": "binary"}}}


def add_explanation(api: FastAPI, backend: Backend) -> None:
    """Register the endpoint."""

    @api.post(
        "/v1/explain",
        responses={200: {"content": _PNG, "model": Explanation}, **ERRORS},
        openapi_extra=image_body(several=False),
        tags=["classify and explain"],
    )
    async def explain(
        request: Request,
        class_index: Annotated[int | None, Query(ge=0, description="default: the best")] = None,
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
        picture, square = await read_upload(request, config.image_size)
        found = await backend.explain(square, class_index, layer, method=method, model=name)
        if "application/json" not in request.headers.get("accept", ""):
            png = await asyncio.to_thread(
                lambda: encode_png(explained_picture(picture, found, opacity))
            )
            return Response(png, media_type="image/png")
        top, left, side = centre_square(*picture.shape[:2])
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
