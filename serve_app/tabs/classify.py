"""Classify: a picture's classes, the evidence for one, and how faithful that evidence is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.layers import (
    DEFAULT_LAYER,
    DEFAULT_METHOD,
    EXPLAINABLE_LAYERS,
    EXPLANATION_METHODS,
)
from serve_app.answers import enlarged, explained_picture, shrunk, top_predictions
from serve_app.backends import Backend
from serve_app.decoding import decoded, framed_or_raise
from serve_app.example_pictures import shipped_pictures
from serve_app.faithfulness import Faithfulness, measure_faithfulness
from serve_app.images import MAX_BYTES, decode_image
from serve_app.model_data import read_data, why_unreadable
from serve_app.sliders import whole_number
from serve_app.tabs.messages import class_index, messages
from serve_app.tabs.triggers import set_off_by

BEST = "predicted"
BUTTONS = ["download", "fullscreen"]
SEEN_SIDE = 160  # pixels on the page
SHOWN_PIXELS = 2_000_000  # of an overlay; each answer leaves one in Gradio's cache for a day
DRAWN = 8  # pictures of the data a click
# What the browser shows for no answer: no classes, and four times nothing.
BLANK = "() => [{}, null, null, null, null]"
Example = Path | Picture


def classify_tab(backend: Backend, model: gr.Dropdown, page: gr.Blocks) -> None:
    """Build the tab in the page, which is open."""
    first = next(iter(backend.models))
    classes = backend.models[first].class_names

    async def classify(
        picture_path: str | None,
        model_name: str,
        top_k: int,
        explained: str,
        layer: str,
        method: str,
        opacity: float,
    ) -> tuple[dict[str, float], Picture, str, Picture, Picture | None]:
        with messages("This picture can't be classified"):
            if picture_path is None:
                raise InputError("give a picture first: drop, paste or photograph one")
            config = backend.models[model_name]
            target = None if explained == BEST else class_index(explained, config.class_names)
            data = await asyncio.to_thread(Path(picture_path).read_bytes)
            async with decoded([data], config.image_size, whole=True) as (part,):
                framed = framed_or_raise(part)
                assert framed.picture is not None
                shown = await asyncio.to_thread(shrunk, framed.picture, SHOWN_PIXELS)
                square = framed.square
            del part, framed  # the whole picture, for which no room is held any more
            found = await backend.explain(square, target, layer, method=method, model=model_name)
            faithful = await measure_faithfulness(backend, square, found, model_name)
            best = top_predictions(found.probabilities, config.class_names, top_k)
        return (
            {prediction["label"]: prediction["probability"] for prediction in best},
            await asyncio.to_thread(explained_picture, shown, found, opacity),
            in_words(faithful, config.class_names[found.class_index]),
            enlarged(square, SEEN_SIDE),
            enlarged(faithful.removed, SEEN_SIDE) if faithful else None,
        )

    async def answer(event: gr.EventData, picture_path: str | None, *how: Any) -> tuple[Any, ...]:
        # Without a picture there is nothing to do yet, and nothing wrong unless the button asks for
        # it; and what was on its way when the model changed is asked again by itself.
        nothing = picture_path is None and not set_off_by(event, run)
        if nothing or set_off_by(event, model):
            return clear()
        try:
            return await classify(picture_path, *how)
        except gr.Error as error:
            # After an error the page would forget what was asked meanwhile.
            gr.Warning(f"{error.title}: {error.message}", duration=error.duration)
            return clear()

    def clear() -> tuple[None, ...]:
        return (None,) * len(outputs)

    def choose(event: gr.SelectData, examples: list[Example]) -> Picture:
        chosen = examples[event.index]
        return decode_image(chosen.read_bytes()) if isinstance(chosen, Path) else chosen

    def draw(model_name: str) -> tuple[list[Example], list[Example]]:
        config = backend.models[model_name]
        with messages("No pictures of the data"):
            if reason := why_unreadable(config):
                raise InputError(reason.rstrip("."))
            test = read_data(config.data.source, config.image_size).test
        chosen = np.random.default_rng().permutation(len(test))[:DRAWN]
        examples = [*shipped, *test.images[chosen]]
        return shown(examples), examples

    def shown(examples: list[Example]) -> list[Example]:
        return [e if isinstance(e, Path) else enlarged(e, SEEN_SIDE) for e in examples]

    def fit(model_name: str) -> tuple[gr.Slider, gr.Button]:
        config = backend.models[model_name]
        return (
            gr.Slider(maximum=len(config.class_names)),
            gr.Button(visible=why_unreadable(config) is None),
        )

    def adapt(model_name: str) -> tuple[gr.Dropdown, gr.Slider, gr.Image, gr.Button]:
        config = backend.models[model_name]
        count = len(config.class_names)
        return (
            gr.Dropdown([BEST, *config.class_names], value=BEST),
            gr.Slider(maximum=count, value=min(5, count)),
            gr.Image(label=seen_label(config.image_size)),
            gr.Button(visible=why_unreadable(config) is None),
        )

    shipped: list[Example] = [*shipped_pictures()]
    size = backend.models[first].image_size
    # A script may ask any model; only a page's visitor has the bound of the one that is chosen.
    most_classes = max(len(config.class_names) for config in backend.models.values())
    with gr.Tab("Classify", id="classify") as tab, gr.Row():
        with gr.Column():
            picture = gr.Image(
                type="filepath",
                sources=["upload", "clipboard", "webcam"],
                label="Picture",
                # What is chosen from the pictures to try, as it is.
                format="png",
                height=300,
                elem_id="picture",
            )
            picture.preprocess = uploaded_path
            with gr.Row():
                explained = gr.Dropdown(
                    [BEST, *classes],
                    value=BEST,
                    label="Class to explain",
                    # The classes change with the model; `class_index` checks.
                    allow_custom_value=True,
                    min_width=140,
                )
                top_k = whole_number(1, most_classes, min(5, len(classes)), "Top k")
            with gr.Row():
                layer = layer_choice()
                method = method_choice()
            opacity = opacity_choice()
            run = gr.Button("Classify", variant="primary")
            examples = gr.State(list(shipped))
            gr.Markdown("#### Pictures to try: click one")
            gallery = gr.Gallery(
                list(shipped),
                label="Pictures to try",
                show_label=False,
                columns=4,
                height="auto",
                fit_columns=False,
                elem_classes="pictures",
                allow_preview=False,
                object_fit="cover",
                interactive=False,
                buttons=[],
                elem_id="examples",
            )
            more = gr.Button(
                "Add pictures of the model's data",
                visible=why_unreadable(backend.models[first]) is None,
            )
        with gr.Column():
            labels = gr.Label(label="Classes", elem_id="classes")
            overlay = gr.Image(
                elem_id="overlay",
                label="Evidence",
                format="png",
                height=300,
                buttons=BUTTONS,
            )
            words = gr.Markdown(elem_id="faithfulness")
            with gr.Row():
                seen = gr.Image(
                    label=seen_label(size),
                    buttons=[],
                    format="png",
                    height=SEEN_SIDE + 40,
                    elem_id="seen",
                    min_width=140,
                )
                removed = gr.Image(
                    label="Part removed",
                    buttons=[],
                    format="png",
                    height=SEEN_SIDE + 40,
                    min_width=140,
                )
    inputs = [picture, model, top_k, explained, layer, method, opacity]
    outputs = [labels, overlay, words, seen, removed]

    # The answer before is none of another picture or model; this the browser does at once.
    gr.on([picture.change, model.change], None, None, outputs, js=BLANK)
    model.change(adapt, model, [explained, top_k, seen, more], api_visibility="private")
    answered = gr.on(
        [
            picture.change,
            run.click,
            model.change,
            *(choice.input for choice in (explained, layer, method, top_k, opacity)),
        ],
        answer,
        inputs,
        outputs,
        # Sliders report every step on the way, and pictures come quickly; the last one counts.
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
    )
    answered.failure(clear, None, outputs, api_visibility="private")
    # For scripts, to which an error is an error.
    gr.on([], classify, inputs, outputs, api_name="classify")
    gallery.select(choose, examples, picture, trigger_mode="multiple", api_visibility="private")
    more.click(draw, model, [gallery, examples], api_name="example_pictures")
    # The data may have come since the page was built.
    gr.on([page.load, tab.select], fit, model, [top_k, more], api_visibility="private")


def in_words(faithful: Faithfulness | None, label: str) -> str:
    """The faithfulness of a map for the class `label`, as Markdown."""
    if faithful is None:
        return f"**Faithfulness**: none to measure. This map finds no evidence for *{label}*."
    share = f"{100 * faithful.share:.2g}%"
    return (
        f"**Faithfulness {faithful.fall:+.2f}**: the probability of *{label}* goes from "
        f"{faithful.whole:.1%} to {faithful.without_strongest:.1%} when the strongest "
        f"{share} of the map is replaced by the mean colour; with the weakest "
        f"{share} instead, to {faithful.without_weakest:.1%}."
    )


def seen_label(size: int) -> str:
    """Over the square that the network sees, of this side in pixels."""
    return f"Seen: {size}x{size}"


def layer_choice() -> gr.Dropdown:
    """Which layer to explain."""
    return gr.Dropdown(
        list(EXPLAINABLE_LAYERS),
        value=DEFAULT_LAYER,
        label="Layer: coarse to fine",
        min_width=140,
    )


def method_choice() -> gr.Dropdown:
    """By which method to explain."""
    return gr.Dropdown(
        list(EXPLANATION_METHODS),
        value=DEFAULT_METHOD,
        label="Method",
        min_width=140,
    )


def opacity_choice() -> gr.Slider:
    """How much of the map is seen over the picture."""
    return gr.Slider(0, 1, value=0.5, step=0.05, label="Overlay opacity")


def uploaded_path(payload: ImageData | None) -> str | None:
    """The path of an uploaded file in Gradio's cache, for our own decoder.

    gr.Image itself would open the file with every decoder there is, and call one that is no picture
    an internal error. (A subclass of it would make Gradio write a .pyi file beside this one.)

    Whoever writes a request by hand may name any path, of which Gradio checks some: only what lies
    in the cache was uploaded.
    """
    if payload is None or payload.path is None:
        return None
    path = Path(payload.path).resolve()
    with messages("Not a picture"):
        if not (path.is_relative_to(Path(get_upload_folder()).resolve()) and path.is_file()):
            raise InputError("this file was not uploaded; upload it first")
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"the image has more than {MAX_BYTES:,} bytes")
    return str(path)
