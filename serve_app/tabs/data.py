"""Data: training images beside their augmented versions, drawn anew at each click."""

from __future__ import annotations

import secrets

import gradio as gr
import numpy as np

from cifar_model.dataset import validation_split
from cifar_model.errors import InputError
from cifar_model.model_config import ModelConfig
from serve_app.answers import enlarged, side_by_side
from serve_app.backends import Backend
from serve_app.model_data import read_data, why_unreadable
from serve_app.sliders import whole_number
from serve_app.tabs.galleries import Captioned, gallery
from serve_app.tabs.messages import messages
from serve_app.tabs.triggers import set_off_by

VERSIONS = 3  # augmented, beside each original
SIDE = 128  # pixels on the page
READY = "**Draw** shows training images beside their augmented versions, each time others."


def data_tab(backend: Backend, model: gr.Dropdown) -> None:
    """Build the tab in the Blocks that is open."""

    def augmented(
        event: gr.EventData,
        model_name: str,
        count: int,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio asks for it)
    ) -> tuple[str, list[Captioned]]:
        if set_off_by(event, model):
            return "", []
        config = backend.models[model_name]
        if reason := why_unreadable(config):
            return reason, []
        with messages("The data can't be shown"):
            return draw(config, count, progress)

    def look(model_name: str) -> tuple[str, gr.Column]:
        reason = why_unreadable(backend.models[model_name])
        return reason or READY, gr.Column(visible=reason is None)

    reason = why_unreadable(next(iter(backend.models.values())))
    with gr.Tab("Data", id="data") as tab:
        words = gr.Markdown(reason or READY, elem_id="data-words")
        with gr.Column(visible=reason is None) as body:
            with gr.Row():
                count = whole_number(1, 24, 6, "Images")
                run = gr.Button("Draw", variant="primary", min_width=140)
            drawn = gr.Markdown()
            rows = gallery(
                "Originals and their augmented versions", 2, "strips", elem_id="augmented"
            )
    # The data may have come since the page was built.
    gr.on(
        [tab.select, model.change],
        look,
        model,
        [words, body],
        trigger_mode="always_last",
        api_visibility="private",
    )
    rows_shown = gr.on(
        [run.click, model.change],
        augmented,
        [model, count],
        [drawn, rows],
        trigger_mode="always_last",
        api_name="augmented",
    )
    rows_shown.failure(lambda: ("", []), None, [drawn, rows], api_visibility="private")


def draw(config: ModelConfig, count: int, progress: gr.Progress) -> tuple[str, list[Captioned]]:
    """What is shown in words, and `count` rows of an original and its augmented versions."""
    progress(0.1, desc=f"Reading {config.data.source}")
    dataset = read_data(config.data.source, config.image_size)
    # What the network trained on: the validation tenth is never augmented.
    trained_on = validation_split(dataset.train.labels)[0]
    progress(0.8, desc="Augmenting")
    seed = secrets.randbelow(2**31)
    chosen = np.random.default_rng(seed).permutation(trained_on)[:count]
    originals = dataset.train.images[chosen]
    try:
        # Here, not above: the page itself stands without PyTorch.
        from cifar_model.augment import preview

        versions = [
            preview(originals, config.recipe, config.normalisation, seed=seed + i)
            for i in range(VERSIONS)
        ]
    except ImportError as error:
        raise InputError(
            f"the recipe augments with {error.name}, which is not installed here"
        ) from error
    rows = []
    for i, image in enumerate(originals):
        row = [image, *(version[i] for version in versions)]
        name = dataset.class_names[dataset.train.labels[chosen[i]]]
        rows.append((side_by_side([enlarged(picture, SIDE) for picture in row]), name))
    return in_words(config, len(trained_on)), rows


def in_words(config: ModelConfig, trained_on: int) -> str:
    """What the rows show, as Markdown.

    trained_on: how many training images the data has, without the validation tenth.
    """
    recipe, seen = config.recipe, config.data.train_images
    part = f" (this model saw {seen:,} of them)" if seen < trained_on else ""
    return (
        f"Left of each row an original of the {trained_on:,} training images of "
        f"`{config.data.source}`{part}, then {VERSIONS} versions of it as recipe "
        f"`{recipe.name}` draws them: shifted by up to {recipe.crop_padding} pixels, "
        f"flip: {recipe.flip}, a hole of {recipe.cutout_size} pixels with probability "
        f"{recipe.cutout_probability:g} (pixels of a 32x32 image)."
    )
