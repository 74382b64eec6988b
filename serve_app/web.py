"""Endpoints and page together, as the one FastAPI application that the ingress replica runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fastapi import FastAPI

from cifar_model.model_config import read_config
from serve_app.api import build_api
from serve_app.backends import Backend, ServeHandles


def build_serve_web(model: Path) -> FastAPI:
    """The application over the replicas of the Serve application that this process is part of."""
    from ray import serve

    config = read_config(model)
    backend = ServeHandles(
        config,
        serve.get_deployment_handle("Classifier"),
        serve.get_deployment_handle("Explainer"),
    )
    return build_web(backend, {config.name: model})


def build_web(backend: Backend, folders: Mapping[str, Path]) -> FastAPI:
    """The endpoints with the page mounted at `/`.

    folders: name -> model folder of every served model.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio as gr

    from serve_app.ui import build_ui, page_options

    page = build_ui(backend, folders)
    return gr.mount_gradio_app(build_api(backend), page, path="/", **page_options())
