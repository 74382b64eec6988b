"""Misclassified: the report's wrong answers, filtered and sorted, with the evidence for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from cifar_model.model_folder import REPORT
from cifar_model.report_folder import MISTAKES_FILE
from serve_app.backends import Backend
from serve_app.sliders import whole_number
from serve_app.tabs.explanation_choices import layer_choice, method_choice, opacity_choice
from serve_app.tabs.galleries import Captioned, gallery
from serve_app.tabs.misclassified_answers import (
    ANY,
    NEAR,
    SURE,
    UNSURE,
    MisclassifiedAnswers,
)
from serve_app.tabs.triggers import set_off_by

MOST_SHOWN, MOST_EXPLAINED = 60, 12
EXPLAINING = "explaining"  # what the page and scripts ask for at a time is bounded together


@dataclass(frozen=True)
class MistakesTab:
    """What other tabs need of this one to open it on a cell of the confusion matrix."""

    tab: gr.Tab
    true: gr.Dropdown
    predicted: gr.Dropdown


class Filters(NamedTuple):
    """Which wrong answers, as `MisclassifiedAnswers` takes it after the model."""

    true: gr.Dropdown
    predicted: gr.Dropdown
    order: gr.Dropdown


class Choices(NamedTuple):
    """How many to explain, and how, as `explain_misclassified` takes it after the filters."""

    most: gr.Slider
    layer: gr.Dropdown
    method: gr.Dropdown
    opacity: gr.Slider


def misclassified_tab(
    backend: Backend, folders: Mapping[str, Path], model: gr.Dropdown
) -> MistakesTab:
    """Build the tab in the Blocks that is open."""
    answers = MisclassifiedAnswers(backend, folders)
    first = next(iter(backend.models))
    with gr.Tab("Misclassified", id="misclassified") as tab:
        words = gr.Markdown(elem_id="mistakes-words")
        with gr.Column(visible=(folders[first] / REPORT / MISTAKES_FILE).is_file()) as body:
            with gr.Row():
                filters = _filters(backend.models[first].class_names)
                count = whole_number(1, MOST_SHOWN, 12, "To show")
            pictures = gallery("Misclassified", 6, elem_id="mistakes")
            with gr.Row():
                choices = _choices()
            run = gr.Button("Explain them", variant="primary")
            gr.Markdown("Each image, the evidence for its predicted and for its true class:")
            strips = gallery("Evidence", 2, "strips", elem_id="strips")
    which = [model, *filters]

    def adapt(model_name: str) -> tuple[gr.Dropdown, gr.Dropdown]:
        names = [ANY, *backend.models[model_name].class_names]
        return gr.Dropdown(names, value=ANY), gr.Dropdown(names, value=ANY)

    async def explain(event: gr.EventData, *how: Any) -> list[Captioned]:
        # Strips of another choice must not stand under the new one; those that are on their way
        # when it comes are asked for again by themselves.
        if set_off_by(event, *which):
            return []
        return await answers.explain_misclassified(*how)

    model.change(adapt, model, [filters.true, filters.predicted], api_visibility="private")
    shown = gr.on(
        [tab.select, *(choice.input for choice in (*filters, count)), model.change],
        answers.misclassified,
        [*which, count],
        [words, pictures, body],
        api_name="misclassified",
        trigger_mode="always_last",
    )
    shown.failure(lambda: ("", []), None, [words, pictures], api_visibility="private")
    strips_shown = gr.on(
        [
            run.click,
            *(choice.input for choice in choices),
            *(choice.change for choice in which),
        ],
        explain,
        [*which, *choices],
        strips,
        trigger_mode="always_last",
        api_visibility="private",
        concurrency_id=EXPLAINING,
    )
    strips_shown.failure(lambda: [], None, strips, api_visibility="private")
    # For scripts, whose choices are all in the call.
    gr.on(
        [],
        answers.explain_misclassified,
        [*which, *choices],
        strips,
        api_name="explain_misclassified",
        concurrency_id=EXPLAINING,
    )
    return MistakesTab(tab, filters.true, filters.predicted)


def _filters(class_names: tuple[str, ...]) -> Filters:
    true, predicted = (
        # The classes change with the model; `class_index` checks.
        gr.Dropdown(
            [ANY, *class_names],
            value=ANY,
            label=label,
            allow_custom_value=True,
            min_width=140,
            elem_id=name,
        )
        for label, name in (("True class", "true-class"), ("Predicted class", "predicted-class"))
    )
    order = gr.Dropdown([SURE, UNSURE, NEAR], value=SURE, label="First", min_width=140)
    return Filters(true, predicted, order)


def _choices() -> Choices:
    most = whole_number(1, MOST_EXPLAINED, 4, "To explain")
    return Choices(most, layer_choice(), method_choice(), opacity_choice())
