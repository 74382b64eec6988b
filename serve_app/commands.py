"""The commands of `jobs` that the page names, and whether they can be run where the page is."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path


def jobs_are_here() -> bool:
    """Whether the commands of `jobs` can be run where the page is; in a Space they can't."""
    return find_spec("jobs") is not None


def how_to_evaluate(folder: Path) -> str:
    """The command that writes a model's report; in a Space, whose it was built from."""
    if jobs_are_here():
        command = shlex.join(["python", "-m", "jobs.evaluate", "--model", str(folder)])
        return f"This command writes its report:\n\n```sh\n{command}\n```"
    return (
        "Where this Space was built, this command writes its report; then build it anew:"
        "\n\n```sh\npython -m jobs.evaluate --model MODEL\n```"
    )
