"""POST /v1/classify: the classes of one picture, or of many in one request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from numpy.typing import NDArray

from cifar_model.predictor import softmax
from cifar_model.tta import SURE, mirrored, mirrors_help, sure_from, unsure
from serve_app.answers import top_predictions
from serve_app.backends import Backend, replaced
from serve_app.decoding import Framed, framed_or_raise
from serve_app.json_response import json_response
from serve_app.models import ModelName, check_unchanged, find_model
from serve_app.problems import Problem
from serve_app.schemas import ERRORS, Classification, Classifications
from serve_app.uploads import image_body, read_uploads

DEFAULT_TOP_K = 5
TopK = Annotated[int, Query(ge=1, le=1000, description="how many classes to name, best first")]
Threshold = Annotated[
    float, Query(ge=0, le=1, description="name only classes that are at least this probable")
]
Tta = Annotated[
    Literal["none", "auto"],
    Query(
        description="`auto`: where the best class is not probable enough (less than "
        f"{SURE} of what the model was taught to give the right one), average with the mirror "
        "image, if the model was trained on mirror images; `/v1/models` has the accuracy on the "
        "test set with and without"
    ),
]


def add_classification(api: FastAPI, backend: Backend) -> None:
    """Register the endpoint."""

    @api.post(
        "/v1/classify",
        responses={200: {"model": Classification | Classifications}, **ERRORS},
        openapi_extra=image_body(several=True),
        tags=["classify and explain"],
    )
    async def classify(
        request: Request,
        top_k: TopK = DEFAULT_TOP_K,
        threshold: Threshold = 0.0,
        tta: Tta = "none",
        model: ModelName = None,
    ) -> Response:
        """Name the classes of a picture, best first.

        Several `file` fields in one form are answered with `results`, one for each in their order;
        a picture that can't be read has an `error` there, and the others their predictions.
        """
        name, config = find_model(backend, model)
        uploads = await read_uploads(request, config.image_size)
        if len(uploads) == 1:
            framed_or_raise(uploads[0].found)
        squares = [u.found.square for u in uploads if isinstance(u.found, Framed)]
        twice = tta == "auto" and mirrors_help(config.recipe)
        sure = sure_from(config.recipe, len(config.class_names)) if twice else 0.0
        probabilities, again = await probabilities_of(backend, name, squares, sure)
        check_unchanged(backend, name, config)
        answers = iter(
            {
                "predictions": top_predictions(row, config.class_names, top_k, threshold),
                **({"reexamined": bool(once_more)} if tta == "auto" else {}),
            }
            for row, once_more in zip(probabilities, again, strict=True)
        )
        if len(uploads) == 1:
            return json_response({"model": name, **next(answers)})
        results = [
            {"name": upload.name, "error": _error(upload.found)}
            if isinstance(upload.found, Problem)
            else {"name": upload.name, **next(answers)}
            for upload in uploads
        ]
        return json_response({"model": name, "results": results})


async def probabilities_of(
    backend: Backend, model: str, squares: Sequence[NDArray[np.uint8]], sure: float
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Probabilities (B, K) of squares, and which of them (B,) were looked at twice.

    sure: those whose best class is less probable are averaged with their mirror images.
    `Problem` if the model was exported anew between the two looks, with other classes.
    """
    if not squares:
        return np.zeros((0, 0), np.float32), np.zeros(0, np.bool_)
    batch = np.stack(squares)
    logits = await backend.logits(batch, model=model)
    probabilities = softmax(logits)
    again = unsure(probabilities, sure)
    if again.any():
        mirror = await backend.logits(mirrored(batch[again]), model=model)
        if mirror.shape[1] != logits.shape[1]:
            raise replaced(model)
        probabilities = probabilities.copy()
        probabilities[again] = softmax((logits[again] + mirror) * np.float32(0.5))
    return probabilities, again


def _error(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "message": problem.message}
