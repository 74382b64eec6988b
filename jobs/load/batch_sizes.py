"""How many pictures went into a forward pass, from the /metrics of our own server."""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass

HISTOGRAM = "ray_serve_app_batch_size"
# Ray's exporters are up to ten seconds behind.
COUNTED_WITHIN_S = 20.0


@dataclass(frozen=True)
class Passes:
    """Forward passes so far, and the pictures in them."""

    pictures: float
    passes: float


def read_passes(server: str) -> Passes:
    """From the address of the server; zeros before its first forward pass."""
    with urllib.request.urlopen(f"{server}/metrics", timeout=10) as answer:
        return parse_passes(answer.read().decode())


def parse_passes(page: str) -> Passes:
    """From a page in Prometheus' text format, over all replicas and models."""
    totals = {"sum": 0.0, "count": 0.0}
    for line in page.splitlines():
        for name in totals:
            if line.startswith((f"{HISTOGRAM}_{name}{{", f"{HISTOGRAM}_{name} ")):
                totals[name] += float(line.rsplit("}", 1)[-1].split()[0])
    return Passes(totals["sum"], totals["count"])


class BatchSizes:
    """Mean batch sizes of loads, found out while others are under load.

    The server's figures lag behind, so a load's are read only before the server's next.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._before = read_passes(server)
        self._open: tuple[list[float], int] | None = None

    def loaded(self, pictures: int, found: list[float]) -> None:
        """A load has ended, in which so many pictures were answered; its batch size joins `found`
        at the next `settle`."""
        self._open = (found, pictures)

    def settle(self) -> None:
        """Wait until all pictures of the last load are counted."""
        if self._open is None:
            return
        (found, pictures), self._open = self._open, None
        deadline = time.monotonic() + COUNTED_WITHIN_S
        while (now := read_passes(self._server)).pictures < self._before.pictures + pictures:
            if time.monotonic() > deadline:
                self._before = now
                return
            time.sleep(0.5)
        found.append((now.pictures - self._before.pictures) / (now.passes - self._before.passes))
        self._before = now
