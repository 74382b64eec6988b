"""Keeps a replica from upgrading connections, to WebSocket or anything else: it speaks HTTP alone.

What guards a request here (keys, rates, bounds) guards HTTP. And of a request that asks for an
upgrade uvicorn never reads the body: one for WebSocket hung for a minute, and what comes later of
another's it takes for a request of its own, whose answer a proxy may hand to somebody else. Some
clients ask each time, as Apache's HttpClient does for TLS/1.2. So nobody asks: the header is
renamed before it is parsed.
"""

from __future__ import annotations

import re

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_UPGRADE, _RENAMED = re.compile(rb"(?i)\nupgrade:"), b"\nx-asked:"


class NoUpgrades(HttpToolsProtocol):
    """uvicorn's protocol, which nobody asks for an upgrade."""

    _is_deaf = False

    def data_received(self, data: bytes) -> None:
        """Parse what has come; in the head of a request without the header."""
        if self._is_deaf:
            return
        if self.cycle is None or not self.cycle.more_body:  # a request begins
            found = data.find(b"\r\n\r\n")
            head_ends = len(data) if found < 0 else found
            if _UPGRADE.search(data, 0, head_ends):
                data = _UPGRADE.sub(_RENAMED, data[:head_ends]) + data[head_ends:]
        super().data_received(data)

    def _unsupported_upgrade_warning(self) -> None:
        # The header came in two parts, or behind another request. Of this one comes the body next.
        self._is_deaf = True
        self.cycle.keep_alive = False


def upgrade_nothing() -> None:
    """For this process, a replica, whose HTTP server is started after its constructor has run.

    AttributeError with a uvicorn that chooses its protocols in another way.
    """
    from uvicorn.protocols.http import auto as http
    from uvicorn.protocols.websockets import auto as websockets

    if http.AutoHTTPProtocol not in (HttpToolsProtocol, NoUpgrades) or not hasattr(
        websockets, "AutoWebSocketsProtocol"
    ):
        raise AttributeError("this version of uvicorn chooses its protocols in another way")
    http.AutoHTTPProtocol = NoUpgrades
    websockets.AutoWebSocketsProtocol = None
