"""Ctrl-C and SIGTERM: a command ends in one line that says how to go on, and status 130.

Python raises an interruption wherever the main thread happens to be, and there it can get lost:
what a `__del__` or a callback raises is only printed, and a library may catch more than it should.
So it is raised again until the command is ending.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cifar_model.errors import INTERRUPTED

INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 1.0  # between an interruption and the next try, if it was not heard


@contextmanager
def interruptible(command: str, *go_on: object) -> Iterator[None]:
    """Around a command's work, which may end anywhere, as if killed: what is on record is enough.

    In the main thread, which alone hears signals.

    command: such as jobs.train.
    go_on: the words after it with which it goes on; none where it would begin anew.
    """
    try:
        with _heard():
            yield
    except (KeyboardInterrupt, SystemExit):  # Lightning and Ray Train turn the one into the other
        words = f"; to go on: python -m {command} {shlex.join(map(str, go_on))}" if go_on else ""
        print(f"{command}: interrupted{words}", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Around what leaves handlers of its own: after it, those before it are back."""
    before = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    try:
        yield
    finally:
        for number, handler in before.items():
            # SIGTERM's default ends a process on the spot; what Ray leaves ends Ray first.
            is_worth_it = handler not in (signal.SIG_DFL, None)
            if is_worth_it and signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def layout_words(options: argparse.Namespace, *names: str) -> list[str]:
    """Those of the options that say what workers get, as they were given."""
    given = [(name, getattr(options, name)) for name in names]
    pairs = [(f"--{name.replace('_', '-')}", value) for name, value in given if value is not None]
    return [str(word) for pair in pairs for word in pair]


@contextmanager
def _heard() -> Iterator[None]:
    """Within the block, interruptions are raised until they are heard."""
    # What a shell starts in the background ignores Ctrl-C; an alarm may be another's.
    found = {number: signal.getsignal(number) for number in INTERRUPTIONS}
    before = {n: h for n, h in found.items() if h not in (signal.SIG_IGN, None)}
    insists = signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    if insists:  # from the start, since Lightning puts back the handlers that it has found
        signal.signal(signal.SIGALRM, _insist)
    for number in before:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if insists:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGALRM) is _insist:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
    raise KeyboardInterrupt


def _insist(number: int, frame: FrameType | None) -> None:
    """Raise again, unless an interruption is being handled: then Ray, say, is shutting down."""
    error = sys.exception()
    while error is not None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            return
        error = error.__context__
    raise KeyboardInterrupt
