"""Keeps a replica from speaking WebSocket, which neither the endpoints nor the page use.

What guards a request here (keys, rates, bounds) guards HTTP. And uvicorn hands a request with a
body that asks for an upgrade to its WebSocket library, which waits for what never comes: it hung
for a minute. Without one, uvicorn answers at once as if neither upgrade nor body were there.
"""

from __future__ import annotations


def speak_no_websocket() -> None:
    """For this process, a replica, whose HTTP server is started after its constructor has run.

    AttributeError with a uvicorn that chooses its library in another way.
    """
    from uvicorn.protocols.websockets import auto

    if not hasattr(auto, "AutoWebSocketsProtocol"):
        raise AttributeError("this version of uvicorn chooses its WebSocket library in another way")
    auto.AutoWebSocketsProtocol = None
