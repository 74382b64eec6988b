"""Answers that their readers are slow to take, or never take, stay bounded.

uvicorn keeps what it is given until the client has read it, and a client may take an hour over an
overlay of 40 megapixels. So a large answer is handed over in pieces, each when the one before has
nearly been read, after all else has done with the request: who reads slowly takes up no place
among those that are answered. Where answers on their way have more than MOST_UNREAD together, the
one that has been longest makes way for the newest: its connection is closed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE = 256 * 1024  # bytes; what has no more goes as it is
MOST_UNREAD = 256 * 2**20  # bytes of answers on their way from a replica


class UnreadAnswers:
    """ASGI middleware: sends large bodies piece by piece, and bounds what is on its way."""

    def __init__(self, app: ASGIApp, most: int = MOST_UNREAD) -> None:
        self.app, self.most = app, most
        self._on_the_way: dict[asyncio.Task[None], int] = {}  # their bytes, the oldest first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        last: Message | None = None

        async def send_but_the_last(message: Message) -> None:
            nonlocal last
            if len(message.get("body", b"")) <= PIECE:
                await send(message)
            elif message.get("more_body", False):
                await self._hand_over(message, send)
            else:
                last = message

        await self.app(scope, receive, send_but_the_last)
        if last is not None:
            with suppress(ConnectionAbortedError):  # uvicorn closes what has not ended
                await self._hand_over(last, send)

    async def _hand_over(self, message: Message, send: Send) -> None:
        """Send it in pieces; ConnectionAbortedError if others needed the room."""
        sending = asyncio.create_task(_send_pieces(message, send))
        self._on_the_way[sending] = len(message["body"])
        self._make_room()
        try:
            await sending
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise ConnectionAbortedError("the client was slow to read, and others came") from None
        finally:
            del self._on_the_way[sending]

    def _make_room(self) -> None:
        """Give up the oldest until the others fit; the newest stays."""
        *older, _ = self._on_the_way
        unread = sum(self._on_the_way.values())
        for sending in older:
            if unread <= self.most:
                break
            sending.cancel()
            unread -= self._on_the_way[sending]


async def _send_pieces(message: Message, send: Send) -> None:
    body, more = message["body"], message.get("more_body", False)
    for start in range(0, len(body), PIECE):
        rest = more or start + PIECE < len(body)
        await send({**message, "body": body[start : start + PIECE], "more_body": rest})
