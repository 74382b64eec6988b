"""A request asked again where that helps: too many ask the server, or a connection was lost."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

MAX_WAIT_S = 120.0  # for one request that is refused as often as it is asked
RECONNECT_S = 0.5


def ask(client: httpx.Client, method: str, path: str, **request: Any) -> httpx.Response:
    """The answer to a request that may safely be asked twice.

    After a 429 or 503 it is asked again when `Retry-After` says, for two minutes at most; then that
    is the answer.
    Raises httpx.TransportError when the connection fails twice.
    """
    waited, lost = 0.0, False
    while True:
        try:
            answer = client.request(method, path, **request)
        except httpx.TransportError:
            if lost:
                raise
            lost = True
            time.sleep(RECONNECT_S)
            continue
        wait = retry_after_s(answer.headers.get("retry-after"))
        if answer.status_code not in (429, 503) or waited + wait > MAX_WAIT_S:
            return answer
        time.sleep(wait)
        waited += wait


def retry_after_s(value: str | None) -> float:
    """Seconds that a Retry-After header asks for, as a number or a date; 1 if it says nothing."""
    try:
        if value and not value.isdecimal():
            return max(0.1, parsedate_to_datetime(value).timestamp() - time.time())
        return max(0.1, float(value or 1))
    except ValueError:
        return 1.0
