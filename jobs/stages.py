"""Saying on the terminal what is being waited for, with the seconds since the command started."""

from __future__ import annotations

import time


class Stages:
    """Prints each stage as it begins.

    started: `time.time()` when the command began.
    quiet: say nothing.
    """

    def __init__(self, started: float, *, quiet: bool = False) -> None:
        self.started, self.quiet = started, quiet

    def say(self, what: str) -> None:
        """One line for a stage that begins now."""
        if not self.quiet:
            print(f"[{time.time() - self.started:6.1f} s] {what}", flush=True)
