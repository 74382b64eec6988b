"""Models: what is served, and which of it the page uses."""

from __future__ import annotations

from typing import Any

import gradio as gr

from serve_app.backends import Backend
from serve_app.commands import jobs_are_here
from serve_app.models import model_names

HEADERS = ["model", "classes", "size", "data", "recipe", "validation", "test"]


def models_tab(backend: Backend, model: gr.Dropdown) -> None:
    """Build the tab in the Blocks that is open."""

    def rows(names: list[str]) -> list[list[Any]]:
        return [model_row(backend, name) for name in names]

    def show() -> tuple[str, list[list[Any]], gr.Dropdown]:
        names = model_names(backend)
        return in_words(names), rows(names), model_choices(names)

    def choose(event: gr.SelectData) -> gr.Dropdown:
        names = model_names(backend)
        chosen = event.row_value[0]
        return gr.Dropdown(names, value=chosen) if chosen in names else gr.skip()

    with gr.Tab("Models", id="models") as tab:
        words = gr.Markdown(in_words(model_names(backend)))
        table = gr.Dataframe(
            rows(model_names(backend)),
            headers=HEADERS,
            label="Served models; accuracies on validation and test images",
            interactive=False,
            elem_id="models-table",
        )
    # Models appear, and are exported anew, while the page is open.
    tab.select(show, None, [words, table, model], api_visibility="private")
    table.select(choose, None, model, api_visibility="private")


def model_choices(names: list[str]) -> gr.Dropdown:
    """The choice of the page's model, shown where there is one."""
    return gr.Dropdown(names, visible=len(names) > 1)


def in_words(names: list[str]) -> str:
    """What stands over the table."""
    if len(names) > 1:
        return "Click a model to use it on this page."
    how = " `python -m serve_app --help` says how to serve several." if jobs_are_here() else ""
    return f"One model is served.{how}"


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
