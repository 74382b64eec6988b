"""Options beside --resume: they may repeat what a run or a search was begun with, not change it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cifar_model.errors import InputError
from cifar_model.recipe import Recipe

# Fields that have another name than their option.
OPTIONS = {"decades": "lr-decades", "dimensions": "search"}


def check_same(what: str, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """InputError if an option asks for something else than was asked for at first.

    what: "run" or "search".
    own, given: values by the field's name.
    """
    for field, value in given.items():
        was = own[field]
        if value == was:
            continue
        name = OPTIONS.get(field, field.replace("_", "-"))
        if isinstance(value, Recipe) and value.name == was.name:
            name, was, value = _first_difference(was, value)
        raise InputError(
            f"--resume: the {what} has {name} {_shown(was)}, not {_shown(value)}; "
            f"leave the option out, or start a new {what} under another --name"
        )


def _first_difference(own: Recipe, other: Recipe) -> tuple[str, Any, Any]:
    mine, theirs = own.to_json(), other.to_json()
    field = next(field for field in mine if mine[field] != theirs[field])
    return field.replace("_", "-"), mine[field], theirs[field]


def _shown(value: Any) -> str:
    if isinstance(value, Recipe):
        return value.name
    if isinstance(value, tuple):
        return " ".join(_shown(part) for part in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
