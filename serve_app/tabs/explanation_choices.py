"""The choices of how to explain, which two tabs offer."""

from __future__ import annotations

import gradio as gr

from cifar_model.layers import (
    DEFAULT_LAYER,
    DEFAULT_METHOD,
    EXPLAINABLE_LAYERS,
    EXPLANATION_METHODS,
)


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
