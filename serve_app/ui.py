"""The Gradio page over any Backend: upload a picture, see its classes and the evidence."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData

from cifar_model.framing import Picture, fit_to_square
from cifar_model.layers import DEFAULT_LAYER, EXPLAINABLE_LAYERS
from serve_app.answers import explained_picture, top_predictions
from serve_app.backends import Backend
from serve_app.images import decode_image
from serve_app.problems import Problem

BEST = "the best class"
BUTTONS = ["download", "fullscreen"]
SEEN_SIDE = 160  # pixels on the page
# System fonts: the page asks no other host for anything.
THEME = gr.themes.Soft(
    font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="blue"
)


def build_ui(backend: Backend) -> gr.Blocks:
    """The page's Blocks."""
    config = backend.config
    classes = config.class_names

    async def classify(
        path: str | None, top_k: int, explained: str, layer: str, opacity: float
    ) -> tuple[dict[str, float], Picture, Picture]:
        if path is None:
            raise gr.Error("Give a picture first: drop, paste or photograph one.", duration=5)
        try:
            picture = decode_image(Path(path).read_bytes())
        except Problem as problem:
            raise gr.Error(f"This can't be used: {problem.message}.", duration=10) from None
        target = None if explained == BEST else classes.index(explained)
        found = await backend.explain(picture, target, layer)
        best = top_predictions(found.probabilities, classes, top_k)
        labels = {prediction.label: prediction.probability for prediction in best}
        seen = fit_to_square(picture, config.image_size)
        # Whole pixels, enlarged: the browser would blur them.
        factor = max(1, SEEN_SIDE // config.image_size)
        enlarged = seen.repeat(factor, axis=0).repeat(factor, axis=1)
        return labels, explained_picture(picture, found, opacity), enlarged

    with gr.Blocks(title=f"{config.name}: image classifier") as blocks:
        gr.Markdown(
            f"# Image classifier\nModel **{config.name}** sorts pictures into "
            f"{len(classes)} classes: {', '.join(classes)}."
        )
        with gr.Row():
            with gr.Column():
                picture = gr.Image(
                    type="filepath",
                    sources=["upload", "clipboard", "webcam"],
                    label="Picture",
                    height=320,
                )
                picture.preprocess = uploaded_path
                with gr.Row():
                    explained = gr.Dropdown([BEST, *classes], value=BEST, label="Class to explain")
                    layer = gr.Dropdown(
                        list(EXPLAINABLE_LAYERS), value=DEFAULT_LAYER, label="Layer"
                    )
                with gr.Row():
                    top_k = gr.Slider(
                        1, len(classes), value=min(5, len(classes)), step=1, label="Top k"
                    )
                    opacity = gr.Slider(0, 1, value=0.5, step=0.05, label="Overlay opacity")
                run = gr.Button("Classify", variant="primary")
            with gr.Column():
                labels = gr.Label(label="Classes")
                overlay = gr.Image(
                    elem_id="overlay",
                    label="Evidence (Grad-CAM)",
                    format="png",
                    height=320,
                    buttons=BUTTONS,
                )
                seen = gr.Image(
                    label=f"Seen: {config.image_size}x{config.image_size}",
                    buttons=BUTTONS,
                    format="png",
                    height=SEEN_SIDE + 40,
                )
        inputs = [picture, top_k, explained, layer, opacity]
        outputs = [labels, overlay, seen]
        run.click(classify, inputs, outputs, api_name="classify")
        picture.input(classify, inputs, outputs, api_visibility="private")
        gr.on(
            [explained.input, layer.input, top_k.release, opacity.release],
            classify,
            inputs,
            outputs,
            api_visibility="private",
            show_progress="minimal",
        )
    blocks.queue(max_size=256, default_concurrency_limit=16)
    return blocks


def uploaded_path(payload: ImageData | None) -> str | None:
    """The path of an uploaded file in Gradio's cache, for our own decoder.

    gr.Image itself would open the file with every decoder there is, and call one that is no picture
    an internal error. (A subclass of it would make Gradio write a .pyi file beside this one.)
    """
    return None if payload is None else payload.path
