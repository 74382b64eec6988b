"""Which file of a visitor's the page reads as a picture."""

from __future__ import annotations

from pathlib import Path

from gradio.data_classes import ImageData
from gradio.utils import get_upload_folder

from cifar_model.errors import InputError
from serve_app.images import MAX_BYTES
from serve_app.tabs.messages import messages


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
