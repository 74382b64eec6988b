"""Endpoints and page together, as the one FastAPI application that the ingress replica runs."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from cifar_model.model_config import read_config
from serve_app.api import build_api
from serve_app.backends import Backend, ServeHandles
from serve_app.images import MAX_BYTES


def build_serve_web(model: Path) -> FastAPI:
    """The application over the replicas of the Serve application that this process is part of."""
    from ray import serve

    backend = ServeHandles(
        read_config(model),
        serve.get_deployment_handle("Classifier"),
        serve.get_deployment_handle("Explainer"),
    )
    return build_web(backend)


def build_web(backend: Backend) -> FastAPI:
    """The endpoints with the page mounted at `/`."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio as gr

    from serve_app.ui import THEME, build_ui

    api = build_api(backend)
    # Without server-side rendering: that would start a Node.js process beside the replica.
    return gr.mount_gradio_app(
        api,
        build_ui(backend),
        path="/",
        ssr_mode=False,
        theme=THEME,
        max_file_size=MAX_BYTES,
        show_error=True,
    )
