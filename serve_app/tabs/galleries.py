"""Pictures in rows, each of its own shape, with its caption below."""

from __future__ import annotations

import gradio as gr
import numpy as np
from numpy.typing import NDArray

Captioned = tuple[NDArray[np.uint8], str]


def gallery(label: str, columns: int, *css_classes: str, elem_id: str) -> gr.Gallery:
    """An empty gallery, as high as its pictures, which only shows them.

    css_classes: beside those that every gallery of the page has, of `ui.CSS`.
    """
    return gr.Gallery(
        label=label,
        show_label=False,
        columns=columns,
        height="auto",
        fit_columns=False,
        allow_preview=False,
        elem_classes=["pictures", *css_classes],
        object_fit="contain",
        format="png",
        interactive=False,
        buttons=[],
        elem_id=elem_id,
    )
