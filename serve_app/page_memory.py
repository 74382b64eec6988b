"""What Gradio keeps for each visitor, kept for the latest of them alone.

Some of it Gradio keeps for ever. Messages it keeps for the latest sessions too, but its queue ends,
for everyone, on the next message for a session that made way. Names that visitors choose are looked
at before anything is kept under them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, TypeVar

from gradio import routes
from gradio.queueing import Queue
from gradio.route_utils import FileUploadProgress, FileUploadProgressTracker
from gradio.server_messages import ProcessCompletedMessage
from gradio.state_holder import SessionState, StateHolder

V = TypeVar("V")
LONGEST_NAME = 64  # characters; the browser's names of sessions and of uploads have a dozen
MOST_SESSIONS = 2000  # Gradio's own number
MOST_UPLOADS = 2000  # whose progress can be asked for
BEGINS_WITHIN_S = 0.7  # an upload whose progress is asked for; the browser asks as it sends it
MOST_ANSWERS = 512  # that nobody has read yet, of all sessions together
MOST_NEWS = 64  # about its place in the queue, of a session
MOST_COUNTED = 500  # actions of the past; Gradio sums them up after each


def bound_memory(
    queue: Queue, most_sessions: int = MOST_SESSIONS, most_answers: int = MOST_ANSWERS
) -> None:
    """Bound what a page's queue keeps for visitors, and what this process does for uploads.

    Before the page is mounted or launched, which makes the states of its sessions.
    """
    event_ids: Latest[set[str]] = Latest(most_sessions, set)
    queue.pending_event_ids_session = event_ids
    queue.pending_messages_per_session = Inboxes(most_sessions, most_answers, event_ids)
    queue.ANALYTICS_MAX_EVENTS = MOST_COUNTED
    routes.StateHolder = CheckedStates
    uploads = routes.file_upload_statuses
    uploads._signals = Latest(MOST_UPLOADS, asyncio.Event)
    uploads._statuses = Latest(MOST_UPLOADS, lambda: FileUploadProgressTracker(deque(), False))
    uploads.is_tracked = _begins_soon


async def _begins_soon(upload_id: str) -> bool:
    """True once an upload has begun; TimeoutError, as of Gradio's own 3 s, if it does not soon."""
    async with asyncio.timeout(BEGINS_WITHIN_S):
        return await FileUploadProgress.is_tracked(routes.file_upload_statuses, upload_id)


def check_name(name: str) -> None:
    """ValueError for a name of a session, or of an upload, that is too long or holds a "<" or half
    a character.

    Gradio cuts the names of tasks, which begin with their session's, at "<gradio-sep>"; where there
    are two of them nobody can cancel anything. And it sums up all actions of late in a table, which
    takes no half of a surrogate pair.
    """
    if len(name) > LONGEST_NAME:
        raise ValueError(f"a name of {len(name)} characters; at most {LONGEST_NAME}")
    if "<" in name:
        raise ValueError("a name with '<' in it")
    name.encode()  # UnicodeEncodeError is a ValueError


class CheckedStates(StateHolder):
    """The state of each session, of which those with a name that is refused take no place."""

    def __getitem__(self, session_id: str) -> SessionState:
        check_name(session_id)
        return super().__getitem__(session_id)


class Latest(OrderedDict[str, V]):
    """As a defaultdict, under names that visitors choose: what was used least recently makes way.

    ValueError for a name that `check_name` refuses.
    """

    def __init__(self, most: int, new: Callable[[], V]) -> None:
        super().__init__()
        self.most, self.new = most, new

    def __missing__(self, name: str) -> V:
        self[name] = self.new()
        return self[name]

    def __getitem__(self, name: str) -> V:
        if name in self:
            self.move_to_end(name)
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: V) -> None:
        check_name(name)
        super().__setitem__(name, value)
        if len(self) > self.most:
            del self[next(iter(self))]


class Inbox(asyncio.Queue[Any]):
    """What a session has not read yet; `answers` of it are answers."""

    def __init__(self, inboxes: Inboxes) -> None:
        super().__init__()
        self.inboxes, self.answers = inboxes, 0

    def put_nowait(self, item: Any) -> None:
        if isinstance(item, ProcessCompletedMessage):
            super().put_nowait(item)
            self.answers += 1
            self.inboxes.make_room()
        elif self.qsize() - self.answers < MOST_NEWS:
            super().put_nowait(item)

    def get_nowait(self) -> Any:
        item = super().get_nowait()
        self.answers -= isinstance(item, ProcessCompletedMessage)
        return item


class Inboxes(Latest[Inbox]):
    """The inbox of each session.

    event_ids: of each session's actions; they go with its inbox.
    """

    def __init__(self, most: int, most_answers: int, event_ids: Latest[set[str]]) -> None:
        super().__init__(most, lambda: Inbox(self))
        self.most_answers, self.event_ids = most_answers, event_ids

    def __missing__(self, session: str) -> Inbox:
        # Nobody awaits what is sent to a session that made way, so no other makes way for it.
        return self.new()

    def __setitem__(self, session: str, _: object) -> None:
        # What Gradio puts here is a queue without bounds.
        super().__setitem__(session, self.new())

    def __delitem__(self, session: str) -> None:
        super().__delitem__(session)
        self.event_ids.pop(session, None)

    def make_room(self) -> None:
        """Forget the sessions that leave most answers unread, if together they are too many."""
        while sum(inbox.answers for inbox in self.values()) > self.most_answers:
            del self[max(self.items(), key=lambda item: item[1].answers)[0]]
