"""Endpoints and page together, as the one FastAPI application that the page's replica runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from serve_app.api import build_api
from serve_app.backends import Backend
from serve_app.catalog import Catalog
from serve_app.page_cache import use_own_cache
from serve_app.serve_handles import ServeHandles


def build_serve_web(
    catalog: Catalog, classifier: Any, explainer: Any, *, settings: Mapping[str, str]
) -> FastAPI:
    """The application over the replicas behind these handles; settings: see `replica_settings`."""
    from serve_app.metrics import add_metrics

    backend = ServeHandles(catalog, classifier, explainer)
    api = build_api(backend, settings)
    add_metrics(api)
    return build_web(api, backend, catalog.folders)


def build_web(api: FastAPI, backend: Backend, folders: Mapping[str, Path]) -> FastAPI:
    """The endpoints with the page mounted at `/`.

    folders: name -> model folder of every served model.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    use_own_cache()
    import gradio as gr

    from serve_app.ui import build_ui, page_options

    blocks = build_ui(backend, folders)
    app = gr.mount_gradio_app(api, blocks, path="/", **page_options())
    # As `launch` does, and mounting does not: until then Gradio copies any file that a request
    # names to where the page hands files out.
    blocks.has_launched = True
    return app
