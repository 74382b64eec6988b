"""Values of the wrong kind are named, whatever a file has put in their place."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from cifar_model.errors import InputError
from cifar_model.field_types import check_types


@dataclass(frozen=True)
class Wanted:
    name: str = "a"
    count: int = 1
    rate: float = 0.5
    on: bool = True
    kind: Literal["one", "two"] = "one"
    limit: int | None = None
    ends: tuple[float, float] | None = None
    words: tuple[str, ...] = ()


@pytest.mark.parametrize(
    "values", [{}, {"rate": 2}, {"limit": 3}, {"ends": (1, 2.5)}, {"words": ("a", "b", "c")}]
)
def test_right_values_pass(values):
    check_types(replace(Wanted(), **values), "file")


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", None, "of type str"),
        ("count", "1", "of type int"),
        ("count", True, "of type int"),
        ("rate", float("nan"), "a finite number"),
        ("rate", True, "a finite number"),
        ("on", 1, "of type bool"),
        ("kind", "three", "one of one, two"),
        ("limit", 1.5, "of type int or null"),
        ("ends", (1.0,), r"of type tuple\[float, float\] or null"),
        ("ends", (1.0, "2"), r"of type tuple\[float, float\] or null"),
        ("words", ["a"], r"of type tuple\[str, \.\.\.\]"),
        ("words", ("a", 1), r"of type tuple\[str, \.\.\.\]"),
    ],
)
def test_a_wrong_one_is_named_with_what_was_expected(field, value, words):
    with pytest.raises(InputError, match=rf"^file: {field} is .*, expected {words}$"):
        check_types(replace(Wanted(), **{field: value}), "file")
