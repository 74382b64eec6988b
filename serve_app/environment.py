"""Numbers that the environment sets, checked where they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from cifar_model.errors import InputError


def positive_number(environment: Mapping[str, str], name: str, what: str) -> float | None:
    """The number above 0 that `name` holds, None if it is not set; InputError for anything else.

    what: the word for it in the error, such as "a number of seconds".
    """
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{name}={text}: expected {what} above 0")
    return value
