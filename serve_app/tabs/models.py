"""Models: what is served, and which of it the page uses."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serve_app.backends import Backend

HEADERS = ["model", "classes", "size", "data", "recipe", "validation", "test"]


def models_tab(backend: Backend, model: gr.Dropdown) -> None:
    """Build the tab in the Blocks that is open."""
    names = list(backend.models)

    def show() -> list[list[Any]]:
        return [model_row(backend, name) for name in names]

    def choose(event: gr.SelectData) -> str:
        return names[event.index[0]]

    several = len(names) > 1
    with gr.Tab("Models", id="models"):
        gr.Markdown(
            "Click a model to use it on this page."
            if several
            else "One model is served. `python -m serve_app --help` says how to serve several."
        )
        table = gr.Dataframe(
            show(),
            headers=HEADERS,
            label="Served models; accuracies on validation and test images",
            interactive=False,
            elem_id="models-table",
        )
    if several:
        table.select(choose, None, model, api_visibility="private")


def model_row(backend: Backend, name: str) -> list[Any]:
    """One line of the table."""
    config = backend.models[name]

    def percent(metric: str) -> str:
        value = config.metrics.get(metric)
        return "not measured" if value is None else f"{value:.2%}"

    return [
        name,
        len(config.class_names),
        f"{config.image_size}x{config.image_size}",
        config.data.source.rpartition("/")[2],
        config.recipe.name,
        percent("val_accuracy"),
        percent("test_accuracy"),
    ]
