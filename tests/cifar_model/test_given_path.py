"""A path as it was typed, past what the shell leaves as it is."""

from pathlib import Path

import pytest

from cifar_model.errors import InputError
from cifar_model.given_path import given_path


def test_it_is_absolute_and_its_home_is_found():
    assert given_path("a/b") == Path.cwd() / "a/b"
    assert given_path("~/x") == Path.home() / "x"


def test_nobodys_home_is_refused_in_a_line():
    with pytest.raises(InputError, match=r"~nobody-here/x: .*give the whole path"):
        given_path("~nobody-here/x")


def test_no_path_is_not_the_working_folder():
    with pytest.raises(InputError, match="an empty path"):
        given_path("")
