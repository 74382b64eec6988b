"""Reads a body and answers at once: what the client itself can drive.

python -m jobs.rivals.no_op --model any --port 8001
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from jobs.rivals.command import serve

ANSWER = b'{"predictions":[]}'
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]


def create_app() -> ASGIApp:
    """The application: no framework, since this is about the client."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": ANSWER})

    return answer


if __name__ == "__main__":
    serve("jobs.rivals.no_op:create_app")
