"""Gathers the pictures of many requests into batches: one model, one thread, no waiting.

While a batch runs, whatever arrives is gathered; the next batch is all of that, and starts the
moment the model is free. So a lone request waits for nothing, and under load batches fill by
themselves. (Serve's own `@serve.batch` closes a batch when its timer ends, though the model is
still busy: at 32 connections it reached 4 to 6 pictures a batch.)
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cifar_model.engine import Engine, Forward
from serve_app.problems import RETRY_AFTER_S, Problem

MAX_BATCH = 32  # pictures; beyond that throughput no longer grows, and the last one waits longer


class _Waiting(NamedTuple):
    squares_BSS3: NDArray[np.uint8]
    answer: Future[Forward]


class Batcher:
    """Runs an engine for many callers at once; each gets the rows that are its own.

    limit: pictures that may be inside, waiting or running; None: any number. A request that finds
        nobody inside is let in, whatever its size.
    observe: told the size of each batch.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        limit: int | None = None,
        observe: Callable[[int], object] | None = None,
    ) -> None:
        self._engine, self._limit, self._observe = engine, limit, observe
        self._inside, self._lock = 0, threading.Lock()
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="batcher", daemon=True).start()

    async def __call__(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        """The forward pass of framed pictures, any number of them; `Problem` if too many wait."""
        with self._admitted(len(squares_BSS3)):
            return await self._ask_in_parts(squares_BSS3)

    @contextmanager
    def _admitted(self, count: int) -> Iterator[None]:
        with self._lock:
            if self._limit is not None and self._inside and self._inside + count > self._limit:
                words = f"{self._inside} pictures are waiting already; try again"
                raise Problem(503, "overloaded", words, retry_after_s=RETRY_AFTER_S)
            self._inside += count
        try:
            yield
        finally:
            with self._lock:
                self._inside -= count

    async def _ask_in_parts(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        parts = [
            squares_BSS3[start : start + MAX_BATCH]
            for start in range(0, len(squares_BSS3), MAX_BATCH)
        ]
        found = await asyncio.gather(*(self._ask(part) for part in parts))
        if len(found) == 1:
            return found[0]
        return Forward(*(np.concatenate(rows) for rows in zip(*found, strict=True)))

    def close(self) -> None:
        """End the thread once it has answered those who wait; nothing may be asked after."""
        self._waiting.put(None)

    async def _ask(self, squares_BSS3: NDArray[np.uint8]) -> Forward:
        answer: Future[Forward] = Future()
        self._waiting.put(_Waiting(squares_BSS3, answer))
        return await asyncio.wrap_future(answer)

    def _serve(self) -> None:
        left_over: _Waiting | None = None
        while True:
            first = left_over or self._waiting.get()
            if first is None:
                return
            batch, left_over, ends = self._gather(first)
            # Of a request that was abandoned meanwhile the future is cancelled.
            batch = [w for w in batch if w.answer.set_running_or_notify_cancel()]
            if batch:
                self._run(batch)
            if ends:
                return

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], _Waiting | None, bool]:
        """What waits and fits into a batch, the one that no longer fits, and whether to end."""
        batch, size = [first], len(first.squares_BSS3)
        while size < MAX_BATCH:
            try:
                following = self._waiting.get_nowait()
            except queue.Empty:
                break
            if following is None:
                return batch, None, True
            if size + len(following.squares_BSS3) > MAX_BATCH:
                return batch, following, False
            batch.append(following)
            size += len(following.squares_BSS3)
        return batch, None, False

    def _run(self, batch: list[_Waiting]) -> None:
        squares = [waiting.squares_BSS3 for waiting in batch]
        try:
            found = self._engine(squares[0] if len(squares) == 1 else np.concatenate(squares))
        except Exception as error:
            for waiting in batch:
                waiting.answer.set_exception(error)
            return
        start = 0
        for waiting in batch:
            rows = slice(start, start + len(waiting.squares_BSS3))
            waiting.answer.set_result(Forward(found.logits_BK[rows], found.class_maps_BKhw[rows]))
            start = rows.stop
        if self._observe:
            self._observe(start)
