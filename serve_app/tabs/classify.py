"""Classify: a picture's classes, the evidence for one, and how faithful that evidence is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from serve_app.backends import Backend
from serve_app.example_pictures import shipped_pictures
from serve_app.sliders import whole_number
from serve_app.tabs.classify_answers import (
    BEST,
    SEEN_SIDE,
    ClassifyAnswers,
    Example,
    chosen_example,
)
from serve_app.tabs.explanation_choices import layer_choice, method_choice, opacity_choice
from serve_app.tabs.triggers import set_off_by
from serve_app.tabs.uploaded_picture import uploaded_path

BUTTONS = ["download", "fullscreen"]
# What the browser shows for no answer: no classes, and four times nothing.
BLANK = "() => [{}, null, null, null, null]"


class Choices(NamedTuple):
    """How to answer, in the order in which `ClassifyAnswers.classify` takes them."""

    top_k: gr.Slider
    explained: gr.Dropdown
    layer: gr.Dropdown
    method: gr.Dropdown
    opacity: gr.Slider


class Answer(NamedTuple):
    """Where the parts of an answer stand, in the order of `ClassifyAnswers.classify`."""

    classes: gr.Label
    evidence: gr.Image
    faithfulness: gr.Markdown
    seen: gr.Image
    removed: gr.Image


@dataclass(frozen=True)
class Examples:
    """Pictures to try."""

    pictures: gr.State  # as they are, which the gallery shows enlarged
    gallery: gr.Gallery
    more: gr.Button


def classify_tab(backend: Backend, model: gr.Dropdown, page: gr.Blocks) -> None:
    """Build the tab in the page, which is open."""
    answers = ClassifyAnswers(backend)
    first = next(iter(backend.models))
    with gr.Tab("Classify", id="classify") as tab, gr.Row():
        with gr.Column():
            picture = _picture()
            choices = _choices(backend, first)
            run = gr.Button("Classify", variant="primary")
            examples = _examples(answers.has_pictures(first))
        with gr.Column():
            outputs = _answer(backend.models[first].image_size)
    inputs = [picture, model, *choices]

    async def answer(event: gr.EventData, picture_path: str | None, *how: Any) -> tuple[Any, ...]:
        # Without a picture there is nothing to do yet, and nothing wrong unless the button asks for
        # it; and what was on its way when the model changed is asked again by itself.
        nothing = picture_path is None and not set_off_by(event, run)
        if nothing or set_off_by(event, model):
            return clear()
        try:
            return await answers.classify(picture_path, *how)
        except gr.Error as error:
            # After an error the page would forget what was asked meanwhile.
            gr.Warning(f"{error.title}: {error.message}", duration=error.duration)
            return clear()

    def clear() -> tuple[None, ...]:
        return (None,) * len(outputs)

    def fit(model_name: str) -> tuple[gr.Slider, gr.Button]:
        count = len(backend.models[model_name].class_names)
        return gr.Slider(maximum=count), gr.Button(visible=answers.has_pictures(model_name))

    def adapt(model_name: str) -> tuple[gr.Dropdown, gr.Slider, gr.Image, gr.Button]:
        config = backend.models[model_name]
        count = len(config.class_names)
        return (
            gr.Dropdown([BEST, *config.class_names], value=BEST),
            gr.Slider(maximum=count, value=min(5, count)),
            gr.Image(label=seen_label(config.image_size)),
            gr.Button(visible=answers.has_pictures(model_name)),
        )

    # The answer before is none of another picture or model; this the browser does at once.
    gr.on([picture.change, model.change], None, None, [*outputs], js=BLANK)
    model.change(
        adapt,
        model,
        [choices.explained, choices.top_k, outputs.seen, examples.more],
        api_visibility="private",
    )
    answered = gr.on(
        [picture.change, run.click, model.change, *(choice.input for choice in choices)],
        answer,
        inputs,
        [*outputs],
        # Sliders report every step on the way, and pictures come quickly; the last one counts.
        trigger_mode="always_last",
        api_visibility="private",
        show_progress="minimal",
    )
    answered.failure(clear, None, [*outputs], api_visibility="private")
    # For scripts, to which an error is an error.
    gr.on([], answers.classify, inputs, [*outputs], api_name="classify")
    examples.gallery.select(
        chosen_example,
        examples.pictures,
        picture,
        trigger_mode="multiple",
        api_visibility="private",
    )
    examples.more.click(
        answers.example_pictures,
        model,
        [examples.gallery, examples.pictures],
        api_name="example_pictures",
    )
    # The data may have come since the page was built.
    gr.on(
        [page.load, tab.select],
        fit,
        model,
        [choices.top_k, examples.more],
        api_visibility="private",
    )


def _picture() -> gr.Image:
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
    return picture


def _choices(backend: Backend, first: str) -> Choices:
    classes = backend.models[first].class_names
    # A script may ask any model; only a page's visitor has the bound of the one that is chosen.
    most_classes = max(len(config.class_names) for config in backend.models.values())
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
    return Choices(top_k, explained, layer, method, opacity_choice())


def _examples(more: bool) -> Examples:
    """more: whether there is data to add pictures of."""
    shipped: list[Example] = [*shipped_pictures()]
    pictures = gr.State(shipped)
    gr.Markdown("#### Pictures to try: click one")
    gallery = gr.Gallery(
        shipped,
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
    return Examples(pictures, gallery, gr.Button("Add pictures of the model's data", visible=more))


def _answer(size: int) -> Answer:
    """size: of the square that the network sees, in pixels."""
    classes = gr.Label(label="Classes", elem_id="classes")
    evidence = gr.Image(
        elem_id="overlay",
        label="Evidence",
        format="png",
        height=300,
        buttons=BUTTONS,
    )
    faithfulness = gr.Markdown(elem_id="faithfulness")
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
    return Answer(classes, evidence, faithfulness, seen, removed)


def seen_label(size: int) -> str:
    """Over the square that the network sees, of this side in pixels."""
    return f"Seen: {size}x{size}"
