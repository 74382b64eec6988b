"""Headers that tell a browser what it may do with an answer, on every answer."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_EVERYWHERE = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
# The page may be embedded where Spaces are shown, and nowhere else. Gradio starts with a script in
# the page itself, and Vega, which draws its plots, compiles expressions.
_PAGE = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
)
# FastAPI's pages of the endpoints start their viewer with a script in the page itself.
_DOCS = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "frame-ancestors 'self'"
)
_ELSEWHERE = b"default-src 'none'; frame-ancestors 'none'"
_CAMERA = (b"permissions-policy", b"camera=(self), microphone=(), geolocation=()")
_POLICY = b"content-security-policy"
_HTML = {"/docs": _DOCS, "/redoc": _DOCS}


def install_security_headers(api: FastAPI) -> None:
    """Send them with every answer of this application and of what is mounted into it."""
    api.add_middleware(SecurityHeaders)


class SecurityHeaders:
    """ASGI middleware: adds the headers; an answer's own policy stays."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                kind = b""
                for name, value in message.get("headers", ()):
                    if name == b"content-type":
                        kind = value
                headers = message["headers"] = [*message.get("headers", ()), *_EVERYWHERE]
                if kind.startswith(b"text/html"):
                    policy = _HTML.get(scope["path"], _PAGE)
                    headers += [(_POLICY, policy.encode()), _CAMERA]
                elif kind.startswith(b"application/json"):
                    headers.append((_POLICY, _ELSEWHERE))
            await send(message)

        await self.app(scope, receive, send_with_headers)
