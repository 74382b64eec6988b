"""Saying on the terminal what is being waited for, with the seconds since the command started."""

from __future__ import annotations

import time


class Stages:
    """Prints each stage as it begins.

    started: `time.time()` when the command began.
    """

    def __init__(self, started: float) -> None:
        self.started = started

    def say(self, what: str) -> None:
        """One line for a stage that begins now."""
        print(f"[{time.time() - self.started:6.1f} s] {what}", flush=True)
