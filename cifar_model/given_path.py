"""Paths that a person has typed."""

from __future__ import annotations

from pathlib import Path

from cifar_model.errors import InputError


def given_path(text: str) -> Path:
    """The absolute path that is meant, a `~` in front being a home.

    The shell leaves `--out=~/x` and `folder:~/x` as they are. InputError for nobody's home, and for
    no path at all, such as a variable that is not set.
    """
    if not text:
        raise InputError("an empty path; expected that of a file or folder")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise InputError(f"{text}: {error}; give the whole path") from error
