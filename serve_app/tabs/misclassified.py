"""Misclassified: the report's wrong answers, filtered and sorted, with the evidence for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from cifar_model.errors import InputError
from cifar_model.model_folder import REPORT
from cifar_model.report_folder import MISTAKES_FILE, Mistakes, read_mistakes
from serve_app.answers import enlarged, explained_picture, side_by_side
from serve_app.backends import Backend
from serve_app.commands import how_to_evaluate
from serve_app.model_files import why_not_its_own
from serve_app.sliders import whole_number
from serve_app.tabs.classify import layer_choice, method_choice, opacity_choice
from serve_app.tabs.messages import class_index, messages
from serve_app.tabs.triggers import set_off_by

ANY = "any class"
SURE, UNSURE, NEAR = "surest", "least sure", "nearest miss"
MOST_SHOWN, MOST_EXPLAINED = 60, 12
SIDE = 160  # pixels on the page
Captioned = tuple[NDArray[np.uint8], str]


@dataclass(frozen=True)
class MistakesTab:
    """What other tabs need of this one to open it on a cell of the confusion matrix."""

    tab: gr.Tab
    true: gr.Dropdown
    predicted: gr.Dropdown


def misclassified_tab(
    backend: Backend, folders: Mapping[str, Path], model: gr.Dropdown
) -> MistakesTab:
    """Build the tab in the Blocks that is open."""

    def select(model_name: str, true: str, predicted: str, order: str) -> Mistakes | None:
        with messages("These can't be shown"):
            config, folder = backend.models[model_name], folders[model_name]
            if reason := why_not_its_own(folder, config):
                raise InputError(reason.rstrip("."))
            names = config.class_names
            found = read_mistakes(folder / REPORT)
            if found is None:
                return None
            kept = np.ones(len(found), bool)
            if true != ANY:
                kept &= found.true == class_index(true, names)
            if predicted != ANY:
                kept &= found.predicted == class_index(predicted, names)
            chosen = found.take(np.flatnonzero(kept))
            key = {
                SURE: -chosen.confidence,
                UNSURE: chosen.confidence,
                NEAR: -chosen.true_probability,
            }[order]
            return chosen.take(np.argsort(key, kind="stable"))

    def show(
        model_name: str, true: str, predicted: str, order: str, count: int
    ) -> tuple[str, list[Captioned], gr.Column]:
        chosen = select(model_name, true, predicted, order)
        # The report may have come since the page was built.
        body = gr.Column(visible=chosen is not None)
        if chosen is None:
            words = "This model has not been evaluated yet: no misclassified images to show. "
            return words + how_to_evaluate(folders[model_name]), [], body
        names = backend.models[model_name].class_names
        part = chosen.take(np.arange(min(count, len(chosen))))
        captions = [
            f"{names[p]} {c:.0%}, is {names[t]}"
            for p, c, t in zip(part.predicted, part.confidence, part.true, strict=True)
        ]
        pictures = [enlarged(image, SIDE) for image in part.images]
        words = (
            f"{len(part)} of {len(chosen)} misclassified test images. Below each: the predicted "
            "class with its probability, and the true class."
        )
        return words, list(zip(pictures, captions, strict=True)), body

    async def explain(
        event: gr.EventData,
        model_name: str,
        true: str,
        predicted: str,
        order: str,
        count: int,
        layer: str,
        method: str,
        opacity: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio asks for it)
    ) -> list[Captioned]:
        # Strips of another choice must not stand under the new one; those that are on their way
        # when it comes are asked for again by themselves.
        if set_off_by(event, *filters):
            return []
        chosen = await asyncio.to_thread(select, model_name, true, predicted, order)
        if chosen is None:
            return []
        names = backend.models[model_name].class_names
        strips = []
        count = min(count, len(chosen))
        for i in range(count):
            progress((i, count), desc="Explaining", unit="images")
            image = chosen.images[i]
            classes = int(chosen.predicted[i]), int(chosen.true[i])
            with messages("These can't be explained"):
                maps = await asyncio.gather(
                    *(
                        backend.explain(image, k, layer, method=method, model=model_name)
                        for k in classes
                    )
                )
            large = enlarged(image, SIDE)
            overlays = [explained_picture(large, found, opacity) for found in maps]
            caption = (
                f"{names[classes[0]]} {chosen.confidence[i]:.0%} | "
                f"is {names[classes[1]]} {chosen.true_probability[i]:.0%}"
            )
            strips.append((side_by_side([large, *overlays]), caption))
        return strips

    def adapt(model_name: str) -> tuple[gr.Dropdown, gr.Dropdown]:
        choices = [ANY, *backend.models[model_name].class_names]
        return gr.Dropdown(choices, value=ANY), gr.Dropdown(choices, value=ANY)

    first = next(iter(backend.models))
    choices = [ANY, *backend.models[first].class_names]
    with gr.Tab("Misclassified", id="misclassified") as tab:
        words = gr.Markdown(elem_id="mistakes-words")
        with gr.Column(visible=(folders[first] / REPORT / MISTAKES_FILE).is_file()) as body:
            with gr.Row():
                # The classes change with the model; `class_index` checks.
                true = gr.Dropdown(
                    choices,
                    value=ANY,
                    label="True class",
                    allow_custom_value=True,
                    min_width=140,
                    elem_id="true-class",
                )
                predicted = gr.Dropdown(
                    choices,
                    value=ANY,
                    label="Predicted class",
                    allow_custom_value=True,
                    min_width=140,
                    elem_id="predicted-class",
                )
                order = gr.Dropdown([SURE, UNSURE, NEAR], value=SURE, label="First", min_width=140)
                count = whole_number(1, MOST_SHOWN, 12, "To show")
            gallery = gr.Gallery(
                label="Misclassified",
                show_label=False,
                columns=6,
                height="auto",
                fit_columns=False,
                allow_preview=False,
                elem_classes="pictures",
                object_fit="contain",
                format="png",
                interactive=False,
                buttons=[],
                elem_id="mistakes",
            )
            with gr.Row():
                explained = whole_number(1, MOST_EXPLAINED, 4, "To explain")
                layer = layer_choice()
                method = method_choice()
                opacity = opacity_choice()
            run = gr.Button("Explain them", variant="primary")
            gr.Markdown("Each image, the evidence for its predicted and for its true class:")
            strips = gr.Gallery(
                label="Evidence",
                show_label=False,
                columns=2,
                height="auto",
                fit_columns=False,
                allow_preview=False,
                elem_classes=["pictures", "strips"],
                object_fit="contain",
                format="png",
                interactive=False,
                buttons=[],
                elem_id="strips",
            )
    filters = [model, true, predicted, order]
    show_inputs, show_outputs = [*filters, count], [words, gallery, body]
    how = [*filters, explained, layer, method, opacity]
    model.change(adapt, model, [true, predicted], api_visibility="private")
    shown = gr.on(
        [tab.select, true.input, predicted.input, order.input, count.input, model.change],
        show,
        show_inputs,
        show_outputs,
        api_name="misclassified",
        trigger_mode="always_last",
    )
    shown.failure(lambda: ("", []), None, [words, gallery], api_visibility="private")
    strips_shown = gr.on(
        [
            run.click,
            *(choice.input for choice in (layer, method, opacity, explained)),
            *(choice.change for choice in filters),
        ],
        explain,
        how,
        strips,
        api_name="explain_misclassified",
        trigger_mode="always_last",
    )
    strips_shown.failure(lambda: [], None, strips, api_visibility="private")
    return MistakesTab(tab, true, predicted)
