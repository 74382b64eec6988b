"""requirements.lock holds the pins of constraints.txt, each with the hash of a file."""

import re
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+) --hash=sha256:[0-9a-f]{64}")


def lines(name: str) -> list[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_both_files_pin_the_same_versions():
    pins = dict(line.split("==") for line in lines("constraints.txt"))
    locked = [LINE.fullmatch(line) for line in lines("requirements.lock")]
    assert all(locked), "each line of the lock is NAME==VERSION and a hash"
    found = {canonicalize_name(match["name"]): match["version"] for match in locked}
    assert found == {canonicalize_name(name): version for name, version in pins.items()}, (
        "run: make lock"
    )


@pytest.mark.parametrize("name", ["constraints.txt", "requirements.lock", "pyproject.toml"])
def test_no_file_of_pins_names_an_index(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host|file://|@ http", text)
