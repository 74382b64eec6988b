"""A thread of its own for work that can only be done one piece at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serve_app.problems import RETRY_AFTER_S, Problem

T = TypeVar("T")


class SlowLane:
    """Runs one piece of work after the other, and lets no other thread wait for them.

    Of one event loop.

    limit: pieces that may be inside, waiting or running.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._inside = limit, 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="slow-lane")

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns; `Problem` if too many are inside."""
        if self._inside >= self._limit:
            words = f"{self._inside} explanations of this kind are waiting already; try again"
            raise Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._inside -= 1
