"""The JSON that the endpoints answer with."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Prediction(BaseModel):
    """One class and its probability."""

    label: str = Field(examples=["cat"])
    index: int = Field(ge=0, examples=[3], description="position of the class in the model")
    probability: float = Field(ge=0, le=1, examples=[0.93])


class Classification(BaseModel):
    """What a model says of a picture."""

    model: str = Field(examples=["first"])
    predictions: list[Prediction] = Field(description="best first")
    reexamined: bool | None = Field(
        default=None, description="with `tta=auto`: whether the mirror image was averaged in"
    )


class ErrorDetail(BaseModel):
    """What was wrong."""

    code: str = Field(examples=["unsupported_image"], description="for machines; stable")
    message: str = Field(description="for people: what was wrong and what to send")


class Error(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail


class Result(BaseModel):
    """What a model says of one of several pictures: predictions, or an error."""

    name: str = Field(examples=["cat.jpg"], description="of the file in the form")
    predictions: list[Prediction] | None = None
    reexamined: bool | None = None
    error: ErrorDetail | None = None


class Classifications(BaseModel):
    """What a model says of several pictures."""

    model: str = Field(examples=["first"])
    results: list[Result] = Field(description="one for each picture, in their order")


class Square(BaseModel):
    """The part of the picture that the network saw, in the picture's pixels."""

    top: int
    left: int
    side: int


class Explanation(BaseModel):
    """A Grad-CAM map with the predictions it goes with."""

    model: str = Field(examples=["first"])
    predictions: list[Prediction] = Field(description="best first")
    class_index: int = Field(description="the class that the map explains")
    label: str
    layer: str
    method: str
    map: list[list[float]] = Field(
        description="rows of the map over the square that the network saw, 0 to 1"
    )
    square: Square


class ModelDescription(BaseModel):
    """A served model."""

    name: str
    class_names: list[str]
    image_size: int = Field(description="side in pixels of the square that the network sees")
    layers: list[str] = Field(description="layers that can be explained, the first by default")
    methods: list[str] = Field(description="ways to explain them, the first by default")
    metrics: dict[str, float]


class ModelList(BaseModel):
    """All served models."""

    models: list[ModelDescription]


class Status(BaseModel):
    """Whether the service lives, or is ready."""

    status: str = Field(examples=["ok"])


Responses = dict[int | str, dict[str, Any]]
ACCESS_WORDS = {
    401: "the server asks for a key, and this request has none of its own",
    429: "more requests than a caller may send; try again after `Retry-After` seconds",
}
SLOW_WORDS = {408: "the body did not arrive in time"}
_RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}


def error_responses(model: type[BaseModel], words: dict[int, str]) -> Responses:
    """What OpenAPI says of errors: status -> in which JSON, and words."""
    responses: Responses = {
        status: {"model": model, "description": text} for status, text in sorted(words.items())
    }
    for status in (429, 503):
        if status in responses:
            responses[status]["headers"] = _RETRY_AFTER
    return responses


ACCESS = error_responses(Error, ACCESS_WORDS)
# Of the endpoints that take pictures.
ERRORS = error_responses(
    Error,
    {
        400: "the image is missing or damaged",
        404: "there is no such model",
        413: "the image is too large",
        415: "not an image of a known format",
        422: "a parameter is out of range",
        503: "too busy, or the model can't be used now; try again after `Retry-After` seconds",
        **ACCESS_WORDS,
        **SLOW_WORDS,
    },
)
