"""Refusals before Ray Serve has done anything for a request.

What Serve does for each request takes longer than a refusal. Under heavy overload that work, for
requests that were then refused, kept the cores from those let in. So a full replica refuses outside
of Serve, whatever else may be wrong with a request. HAProxy counts these refusals by their status,
as it does all answers; the replica's own counters, its log and the autoscaler know nothing of them.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.admission import Occupancy, is_bounded, refuse
from serve_app.security_headers import SecurityHeaders

_occupancy: Occupancy | None = None  # of this process, which is one replica


def refuse_early(occupancy: Occupancy) -> None:
    """From now on this process refuses what is one too many for this occupancy."""
    global _occupancy
    _occupancy = occupancy


class EarlyRefusal:
    """ASGI middleware around all that Serve does; lets everything in until `refuse_early`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._refuse = SecurityHeaders(refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        too_many = _occupancy is not None and is_bounded(scope) and _occupancy.is_full
        await (self._refuse if too_many else self.app)(scope, receive, send)
