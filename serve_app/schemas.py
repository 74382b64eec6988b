"""The JSON that the endpoints answer with."""

from __future__ import annotations

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


class Square(BaseModel):
    """The part of the picture that the network saw, in the picture's pixels."""

    top: int
    left: int
    side: int


class Explanation(Classification):
    """A Grad-CAM map with the predictions it goes with."""

    class_index: int = Field(description="the class that the map explains")
    label: str
    layer: str
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
    metrics: dict[str, float]


class ModelList(BaseModel):
    """All served models."""

    models: list[ModelDescription]


class Status(BaseModel):
    """Whether the service lives, or is ready."""

    status: str = Field(examples=["ok"])


class ErrorDetail(BaseModel):
    """What was wrong."""

    code: str = Field(examples=["unsupported_image"], description="for machines; stable")
    message: str = Field(description="for people: what was wrong and what to send")


class Error(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail
