"""Which files of this project a file needs, and which distributions others require."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cifar_model.errors import InputError

# `pip freeze` leaves it out: pip itself brings it.
UNPINNED = {"setuptools"}
OWN = ("cifar_model", "serve_app")
# PyTorch requires CUDA's libraries on Linux alone.
WITHOUT_CUDA = {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"}


def needed_files(root: Path, entry: Path) -> list[Path]:
    """The project's files that `entry` imports, directly or not, relative to `root`, sorted.

    Imports inside functions count; those under `if TYPE_CHECKING` do too, and cost little.
    """
    found: set[Path] = set()
    waiting = [entry]
    while waiting:
        for module in imported_modules(waiting.pop()):
            for file in module_files(root, module):
                if file not in found:
                    found.add(file)
                    waiting.append(root / file)
    return sorted(found)


def imported_modules(path: Path) -> Iterator[str]:
    """Names of modules, or of what is in them, that a file imports from this project."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module too.
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] in OWN)


def module_files(root: Path, module: str) -> Iterator[Path]:
    """The file of a module and the `__init__.py` of each package around it, where they exist."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        base = Path(*parts[:length])
        for file in (base / "__init__.py", base.with_suffix(".py")):
            if (root / file).is_file():
                yield file


def pinned_closure(names: Iterable[str], pins: dict[str, str]) -> list[str]:
    """`name==version` of these distributions and all they require here but for CUDA, sorted.

    pins: exact versions by normalised name. InputError for a distribution without a pin.
    """
    waiting = list(names)
    needed = _closure(waiting, pins, {}) & _closure(waiting, pins, WITHOUT_CUDA)
    return [f"{name}=={pins[name]}" for name in sorted(needed)]


def _closure(names: Iterable[str], pins: dict[str, str], environment: dict[str, str]) -> set[str]:
    """Names of the distributions and all they require in an environment, as far as is here."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name in UNPINNED:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError as error:
            if environment:
                continue
            raise InputError(f"space: {name} is not installed; install this project") from error
        if name not in pins:
            raise InputError(f"space: constraints.txt has no pin of {name}; run make constraints")
        found.add(name)
        extras = requirement.extras or {""}
        for text in needs:
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or any(
                marker.evaluate({**environment, "extra": extra}) for extra in extras
            ):
                waiting.append(needed)
    return found


def read_pins(constraints: Path) -> dict[str, str]:
    """Exact versions by normalised name, from a constraints file."""
    pins: dict[str, str] = {}
    for line in constraints.read_text(encoding="utf-8").splitlines():
        name, found, version = line.partition("==")
        if found and not line.startswith("#"):
            pins[canonicalize_name(name)] = version.strip()
    return pins
