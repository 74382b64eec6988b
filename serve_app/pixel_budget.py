"""Room for pictures in memory: a bound on the pixels that a process holds decoded at a time.

A PNG of 40 megapixels may have 100 KB, and takes 120 MB once it is decoded. Who finds no room waits
for it outside of any thread, so that small pictures pass; not for long, then it is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serve_app.problems import RETRY_AFTER_S, Problem

# 3 bytes each; an overlay needs four times that while it is laid.
MOST_PIXELS = 120_000_000
WAIT_S = 5.0


class PixelBudget:
    """Lets pictures in, in their order, while they have at most `limit` pixels together.

    Of one event loop. A picture that finds none inside is let in, whatever its size.
    """

    def __init__(self, limit: int = MOST_PIXELS, wait_s: float = WAIT_S) -> None:
        self.limit, self.wait_s, self.inside = limit, wait_s, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def room_for(self, pixels: int) -> AsyncIterator[None]:
        """Around the time in which so many pixels are held; `Problem` if there is no room soon."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((pixels, turn))
        self._let_in()
        try:
            try:
                async with asyncio.timeout(self.wait_s):
                    await asyncio.shield(turn)
            except TimeoutError as error:
                words = "too many large pictures are being worked on; try again"
                raise Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S) from error
            yield
        finally:
            if turn.done():
                self.inside -= pixels
            else:
                self._waiting.remove((pixels, turn))
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            pixels, turn = self._waiting[0]
            if self.inside and self.inside + pixels > self.limit:
                return
            self._waiting.popleft()
            self.inside += pixels
            turn.set_result(None)
