"""What can't be done, said on the page: a message that goes away, in the words of the error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import gradio as gr

from cifar_model.errors import InputError
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
        raise InputError(f"no class {name!r}: expected one of {', '.join(class_names)}")
    return class_names.index(name)


def jobs_are_here() -> bool:
    """Whether the commands of `jobs` can be run where the page is; in a Space they can't."""
    return find_spec("jobs") is not None


def how_to_evaluate(folder: Path) -> str:
    """The command that writes a model's report; a Space has it not, and is built from one."""
    if jobs_are_here():
        command = f"python -m jobs.evaluate --model {folder}"
        return f"This command writes its report:\n\n```sh\n{command}\n```"
    return (
        "Where this Space was built, this command writes its report; then build it anew:"
        "\n\n```sh\npython -m jobs.evaluate --model MODEL\n```"
    )
