"""Where the servers of this machine left word of themselves, for `--update` to find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.files import write_whole


@contextmanager
def running_here(port: int) -> Iterator[None]:
    """Leave word that the Ray of this process serves on a port, while it does."""
    import ray

    path = _note(port)
    write_whole(path, ray.get_runtime_context().gcs_address.encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def address_of(port: int) -> str:
    """Address of the Ray that serves on a port; InputError if no server left word of it."""
    try:
        return _note(port).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"no server of this machine is known on port {port}; start one without --update, "
            "or name another --port"
        ) from error


def _note(port: int) -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "ray-cifar" / f"serve-{port}"
