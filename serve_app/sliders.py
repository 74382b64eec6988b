"""The page's sliders, which a number can be typed into too."""

from __future__ import annotations

import math
from functools import cache

import gradio as gr


def whole_number(least: int, most: int, value: int, label: str) -> gr.Slider:
    """A choice of how many."""
    return gr.Slider(least, most, value=value, step=1, precision=0, label=label, min_width=140)


@cache
def allow_empty_sliders() -> None:
    """Make every slider of this process stand where it stood at first while its number is deleted.

    Gradio alone fails on it, without a word; and it takes NaN for a number between any two.
    """
    preprocess = gr.Slider.preprocess

    def with_a_number(slider: gr.Slider, payload: float | None) -> float:
        if isinstance(payload, float) and math.isnan(payload):
            words = f"{slider.label}: expected a number, not NaN"
            raise gr.Error(words, print_exception=False)
        return preprocess(slider, slider.value if payload is None else payload)

    gr.Slider.preprocess = with_a_number
