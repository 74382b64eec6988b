"""GET /v1/models, and the model that a request names."""

from __future__ import annotations

from typing import Annotated

from fastapi import FastAPI, Query

from cifar_model.layers import EXPLAINABLE_LAYERS, EXPLANATION_METHODS
from cifar_model.model_config import ModelConfig
from serve_app.backends import Backend
from serve_app.catalog import Catalog
from serve_app.problems import Problem
from serve_app.schemas import ACCESS, ModelDescription, ModelList

ModelName = Annotated[
    str | None, Query(max_length=200, description="a name from `/v1/models` (default: the first)")
]


def add_models(api: FastAPI, backend: Backend) -> None:
    """Register the endpoint."""

    @api.get("/v1/models", responses=ACCESS, tags=["about"])
    async def models() -> ModelList:
        """The models that are served, the default one first."""
        return ModelList(
            models=[describe(name, config) for name, config in list(backend.models.items())]
        )


def describe(name: str, config: ModelConfig) -> ModelDescription:
    """What is said of a model."""
    return ModelDescription(
        name=name,
        class_names=list(config.class_names),
        image_size=config.image_size,
        layers=list(EXPLAINABLE_LAYERS),
        methods=list(EXPLANATION_METHODS),
        metrics=config.metrics,
    )


def find_model(backend: Backend, name: str | None) -> tuple[str, ModelConfig]:
    """The model of this name, or the default one; `Problem` if there is none."""
    models = backend.models
    if name is None:
        name = next(iter(models))
    elif name not in models and not (isinstance(models, Catalog) and models.knows(name)):
        raise Problem(404, "unknown_model", f"no model {name!r}; /v1/models lists them")
    return name, models[name]
