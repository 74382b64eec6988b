"""The Gradio page over any Backend; its tabs are in `serve_app.tabs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from cifar_model.first_few import first_few
from serve_app.backends import Backend
from serve_app.example_pictures import shipped_pictures
from serve_app.images import MAX_BYTES
from serve_app.models import find_model, model_names
from serve_app.no_fetching import forbid_fetching
from serve_app.page_guard import guarded
from serve_app.page_memory import bound_memory
from serve_app.page_uploads import bound_uploads
from serve_app.sliders import allow_empty_sliders
from serve_app.tabs.classify import classify_tab
from serve_app.tabs.data import data_tab
from serve_app.tabs.messages import messages
from serve_app.tabs.misclassified import misclassified_tab
from serve_app.tabs.models import model_choices, models_tab
from serve_app.tabs.report import report_tab

# System fonts: the page asks no other host for anything.
THEME = gr.themes.Soft(
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="blue"
)
# What goes wrong is said once, in the message; Gradio would also write it over every output.
# Galleries are as high as their pictures, which keep their shape; captions stand below them.
CSS = """
[data-testid="status-tracker"]:has(.error) { display: none !important; }
.pictures .grid-wrap { min-height: 0; max-height: none; overflow: visible; }
.pictures .grid-container { padding-top: 0; grid-template-rows: none; grid-auto-rows: auto; }
.pictures .thumbnail-lg { aspect-ratio: auto; height: auto; overflow: hidden; }
.pictures .thumbnail-lg > img { height: auto; border-radius: 0; }
.pictures .caption-label { position: static; max-width: none; border: 0; text-align: center;
  white-space: normal; }
#examples .thumbnail-lg > img { aspect-ratio: 1; }
@media (max-width: 640px) {
  .strips .grid-container { grid-template-columns: 1fr; }
  #mistakes .grid-container { grid-template-columns: repeat(3, 1fr); }
  #examples .grid-container { grid-template-columns: repeat(4, 1fr); }
}
"""
HOUR = 3600  # seconds
LOOKS_EVERY_S = 0.02
SESSIONS = 500
MOST_NAMED = 20  # classes in the heading; of more the first few


def page_options() -> dict[str, Any]:
    """What mounting and launching the page have in common."""
    return {
        # Server-side rendering would start a Node.js process beside this one.
        "ssr_mode": False,
        "theme": THEME,
        "css": CSS,
        "max_file_size": MAX_BYTES,
        "allowed_paths": [str(path) for path in shipped_pictures()],
        # What the tabs put in words is shown all the same; other errors stay in the log.
        "show_error": False,
        # What visitors did is recorded nowhere.
        "run_history": False,
        "footer_links": ["api", "gradio", "settings"],
        "app_kwargs": guarded(),
    }


def build_ui(backend: Backend, folders: Mapping[str, Path]) -> gr.Blocks:
    """The page's Blocks.

    folders: name -> model folder, whose card, history and report the page shows.
    """
    forbid_fetching()
    allow_empty_sliders()
    bound_uploads()
    names = model_names(backend)

    def describe(model_name: str) -> str:
        classes = backend.models[model_name].class_names
        named = ", ".join(classes) if len(classes) <= MOST_NAMED else first_few(classes)
        return (
            f"# Image classifier\nModel **{model_name}** sorts pictures into "
            f"{len(classes):,} classes: {named}."
        )

    def models() -> list[str]:
        """Names of the served models, the default one first."""
        return model_names(backend)

    def known(model_name: str | None) -> str:
        # A script's session has the choices of the page as it was built.
        with messages("No such model"):
            return find_model(backend, model_name)[0]

    def choices() -> gr.Dropdown:
        return model_choices(model_names(backend))

    with gr.Blocks(
        title="Image classifier", analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR)
    ) as blocks:
        heading = gr.Markdown(describe(names[0]))
        model = gr.Dropdown(
            names, value=names[0], label="Model", visible=len(names) > 1, elem_id="model"
        )
        model.preprocess = known
        # First, for the page does what a change sets off one after the other.
        model.change(describe, model, heading, api_name="describe")
        with gr.Tabs() as tabs:
            classify_tab(backend, model, blocks)
            mistakes = misclassified_tab(backend, folders, model)
            report_tab(backend, folders, model, tabs, mistakes)
            data_tab(backend, model)
            models_tab(backend, model)
        blocks.load(choices, None, model, api_visibility="private")
        gr.api(models, api_name="models")
    # Past the queue there would be no bound, and an error of a visitor's a 500.
    blocks.queue(max_size=256, default_concurrency_limit=16, api_open=False)
    bound_memory(blocks._queue)
    # Gradio looks for events a thousand times a second, which takes 6 % of a core for ever.
    blocks._queue.sleep_when_free = LOOKS_EVERY_S
    # Each visitor's state; of 10,000, Gradio's default, a page would come to hold a gigabyte.
    blocks.state_session_capacity = SESSIONS
    return blocks
