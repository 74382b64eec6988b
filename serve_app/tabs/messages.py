"""What can't be done, said on the page: a message that goes away, in the words of the error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from cifar_model.errors import InputError
from cifar_model.first_few import first_few
from serve_app.problems import Problem


@contextmanager
def messages(title: str) -> Iterator[None]:
    """Around an action: what went wrong with what a person gave becomes a message."""
    try:
        yield
    except (Problem, InputError) as error:
        raise gr.Error(f"{error}.", duration=10, title=title, print_exception=False) from None


def class_index(name: str, class_names: tuple[str, ...]) -> int:
    """The position of a class; InputError for a name that is none."""
    if name not in class_names:
        raise InputError(f"no class {name!r}: expected one of {first_few(class_names)}")
    return class_names.index(name)
