"""Ctrl-C and SIGTERM: a command ends in one line that says how to go on, and status 130."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cifar_model.errors import INTERRUPTED


@contextmanager
def interruptible(command: str, *go_on: object) -> Iterator[None]:
    """Around a command's work, which may end anywhere, as if killed: what is on record is enough.

    command: such as jobs.train.
    go_on: the words after it with which it goes on; none where it would begin anew.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning and Ray Train turn the one into the other
        words = f"; to go on: python -m {command} {shlex.join(map(str, go_on))}" if go_on else ""
        print(f"{command}: interrupted{words}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def layout_words(options: argparse.Namespace, *names: str) -> list[str]:
    """Those of the options that say what workers get, as they were given."""
    given = [(name, getattr(options, name)) for name in names]
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in given if value is not None]
    return [str(word) for pair in pairs for word in pair]
