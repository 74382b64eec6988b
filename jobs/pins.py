"""The exact versions that `jobs.submit --install` has nodes install."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cifar_model.errors import InputError
from jobs.package import PINS, ROOT

NODE_PACKAGES = {"ray", "pip", "setuptools"}  # what a node has before any job comes


def pins() -> list[str]:
    """Those lines of constraints.txt (name==version) that our commands need to run."""
    lines = (ROOT / PINS).read_text(encoding="utf-8").splitlines()
    exact = [line.strip() for line in lines if "==" in line and not line.startswith("#")]
    wanted = needed("ray-cifar") - NODE_PACKAGES
    return [line for line in exact if canonicalize_name(line.partition("==")[0]) in wanted]


def needed(package: str) -> set[str]:
    """Names of what an installed package needs without its extras, and of what they need in turn.

    InputError for one that is not installed here.
    """
    found = {(canonicalize_name(package), "")}  # each with an extra of it, or ""
    waiting = list(found)
    while waiting:
        name, extra = waiting.pop()
        try:
            requirements = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError as error:
            raise InputError(
                f"--install: {name} is not installed here, so what it needs is not known"
            ) from error
        for requirement in requirements:
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            also = canonicalize_name(requirement.name)
            new = {(also, part) for part in ("", *requirement.extras)} - found
            found |= new
            waiting += new
    return {name for name, _ in found}
