"""The types of a dataclass's fields, checked where their values come from a file."""

from __future__ import annotations

import math
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cifar_model.errors import InputError


def check_types(instance: Any, what: str) -> None:
    """InputError that names the first field of a dataclass whose value is not as it is annotated.

    Whole numbers count as floats, and floats must be finite.

    what: of which the fields are, for the message.
    """
    hints = get_type_hints(type(instance))
    for field in fields(instance):
        value, hint = getattr(instance, field.name), hints[field.name]
        if not _fits(value, hint):
            raise InputError(f"{what}: {field.name} is {value!r}, expected {_words(hint)}")


def _fits(value: object, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin is UnionType:
        return any(_fits(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if hint is float:
        return _fits(value, int) or (isinstance(value, float) and math.isfinite(value))
    # True is an int to Python.
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _words(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is UnionType:
        return " or ".join(_words(one) for one in arguments)
    if hint is float:
        return "a finite number"
    if hint is NoneType:
        return "null"
    return f"of type {hint if origin else hint.__name__}"
