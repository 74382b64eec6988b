"""GET /v1/models, and the model that a request names."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query

from cifar_model.layers import EXPLAINABLE_LAYERS, EXPLANATION_METHODS
from cifar_model.model_config import ModelConfig
from serve_app.backends import Backend, replaced
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
        names = await asyncio.to_thread(model_names, backend)
        return ModelList(models=[describe(name, backend.models[name]) for name in names])


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


def model_names(backend: Backend) -> list[str]:
    """Names of the models that are there now, the default one first; may read the folder again."""
    if isinstance(backend.models, Catalog):
        backend.models.refresh()
    return list(backend.models)


def find_model(backend: Backend, name: str | None) -> tuple[str, ModelConfig]:
    """The model of this name, or the default one; `Problem` if there is none."""
    models = backend.models
    if name is None:
        name = next(iter(models))
    elif not (models.knows(name) if isinstance(models, Catalog) else name in models):
        raise unknown_model(name)
    return name, models[name]


def check_unchanged(backend: Backend, name: str, config: ModelConfig) -> None:
    """`Problem` if the model was exported anew since `find_model` gave this config.

    What it said may then belong to the other's classes, or to a square that the other does not see.
    """
    now = backend.models[name]
    if (now.class_names, now.image_size) != (config.class_names, config.image_size):
        raise replaced(name)


def unknown_model(name: str) -> Problem:
    """What is answered where no model has this name."""
    return Problem(404, "unknown_model", f"no model {name!r}; /v1/models lists them")
