"""Lists that stay short in a message, however long they are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MOST = 5


def first_few(words: Iterable[object], count: int | None = None) -> str:
    """`a, b, c, d, e and 12 more`.

    count: of all words, where `words` does not go on to the last.
    """
    if count is None:
        words = list(words)
        count = len(words)
    shown = ", ".join(str(word) for word in islice(words, MOST))
    return f"{shown} and {count - MOST:,} more" if count > MOST else shown
