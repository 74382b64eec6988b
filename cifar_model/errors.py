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
    except InputError as error:
        print(f"{command}: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except MemoryError as error:
        # NumPy's says how much it wanted; Python's own is empty.
        words = str(error) or "not enough memory"
        print(f"{command}: {words}; free some, or give the command less at a time", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            words = (
                f"{error}; free some, then give the command again (what has a --resume, with it)"
            )
        elif error.filename is not None:
            words = f"{error.filename}: {error.strerror}"
        else:
            raise
        print(f"{command}: {words}", file=sys.stderr)
        raise SystemExit(2) from None
