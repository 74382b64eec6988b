"""The one exception whose words are meant for the person who typed the command."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something given from outside can't be used.

    The message is one line: what was wrong, what was expected, what to do. Command lines print it
    without a traceback and exit with status 2.
    """


class TrainingDiverged(InputError):
    """The loss is no longer a number; the same recipe would diverge again."""


INTERRUPTED = 130  # the exit status of what Ctrl-C ended


@contextmanager
def one_line_errors(command: str) -> Iterator[None]:
    """Around a command's work: an `InputError` becomes one line on stderr and exit status 2.

    A full disk or memory likewise, and a file that can't be used, whichever it is; Ctrl-C becomes
    one line and exit status 130.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (InputError, MemoryError, OSError) as error:
        words = _in_words(error)
        if words is None:
            raise
        print(f"{command}: {words}", file=sys.stderr)
        raise SystemExit(2) from None


def _in_words(error: InputError | MemoryError | OSError) -> str | None:
    """One line; None for a failure of the system that names nothing a person could mend."""
    if isinstance(error, InputError):
        return " ".join(str(error).split())
    if isinstance(error, MemoryError):
        # NumPy's says how much it wanted; Python's own is empty.
        words = str(error) or "not enough memory"
        return f"{words}; free some, or give the command less at a time"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}; free some, then give the command again (what has a --resume, with it)"
    return None if error.filename is None else f"{error.filename}: {error.strerror}"
