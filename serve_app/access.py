"""Who may ask, and how often: optional API keys, and an optional rate for each caller.

RAY_CIFAR_API_KEYS         keys that are let in, separated by commas, of at least 16 characters
                           each; not set: everyone is let in
RAY_CIFAR_API_KEYS_FILE    a file with a key a line, beside those
RAY_CIFAR_API_KEY_DIGESTS  SHA-256 of keys in hex, separated by commas, instead of both
RAY_CIFAR_RATE             requests a second that each caller may send on average; none: no limit
RAY_CIFAR_BURST            requests that a caller may send at once (default: two seconds' worth)
RAY_CIFAR_CLIENT_HEADER    a header in which a proxy of yours says who called, such as
                           x-forwarded-for (default: none)

A caller is a key or what that header says; who has neither shares one rate with all others, for
Serve's own proxy does not pass addresses on. Each replica counts for itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from cifar_model.errors import InputError
from serve_app.environment import positive_number
from serve_app.problems import Problem, problem_response

_KEYS, _FILE = "RAY_CIFAR_API_KEYS", "RAY_CIFAR_API_KEYS_FILE"
DIGESTS = "RAY_CIFAR_API_KEY_DIGESTS"
_RATE, _BURST = "RAY_CIFAR_RATE", "RAY_CIFAR_BURST"
_HEADER = "RAY_CIFAR_CLIENT_HEADER"
NO_SECRETS = (_RATE, _BURST, _HEADER)
SHORTEST_KEY = 16  # characters
ALWAYS_OPEN = ("/healthz", "/readyz")
ALWAYS_OPEN_UNDER = "/v2/health/"
_ENDPOINTS = ("/v1/", "/v2/")
# What makes the page's server work. Its many small files don't count.
_PAGE_ACTIONS = (
    "/gradio_api/queue/join",
    "/gradio_api/call/",
    "/gradio_api/upload",
)
MAX_CALLERS = 10_000  # remembered at a time
MOST_KEYS = 3  # that are looked at in a request, one for each way to send it


@dataclass(frozen=True)
class AccessSettings:
    """Digests (SHA-256) of the keys that are let in, and the rate for each caller."""

    keys: tuple[bytes, ...] = ()
    rate: float | None = None  # requests a second
    burst: float = 1.0
    client_header: bytes | None = None


def read_access_settings(environment: Mapping[str, str] = os.environ) -> AccessSettings:
    """The settings in the environment; InputError for what can't be used."""
    rate = positive_number(environment, _RATE, "a number")
    burst = positive_number(environment, _BURST, "a number") or 2 * (rate or 1)
    header = environment.get(_HEADER, "").lower().encode() or None
    return AccessSettings(_read_digests(environment), rate, max(1.0, burst), header)


def _read_digests(environment: Mapping[str, str]) -> tuple[bytes, ...]:
    """Of all keys; none only where no setting of keys is there, for then everyone is let in."""
    if DIGESTS in environment:
        try:
            digests = [bytes.fromhex(text) for text in environment[DIGESTS].split(",")]
        except ValueError:
            digests = []
        if not digests or any(len(digest) != 32 for digest in digests):
            raise InputError(f"{DIGESTS}: expected SHA-256 digests of 64 hex digits, with commas")
        return tuple(digests)
    found: list[tuple[str, list[str]]] = []
    if _KEYS in environment:
        found.append((_KEYS, environment[_KEYS].split(",")))
    if _FILE in environment:
        path = environment[_FILE]
        try:
            found.append((f"{_FILE}={path}", Path(path).read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{_FILE}={path} can't be read: {error}") from error
    keys: list[str] = []
    for name, texts in found:
        own = [text.strip() for text in texts if text.strip()]
        if not own:
            raise InputError(f"{name} is set and holds no key; unset it to let everyone in")
        if any(len(key) < SHORTEST_KEY for key in own):
            raise InputError(f"{name}: a key has fewer than {SHORTEST_KEY} characters")
        keys += own
    return tuple(_digest(key.encode()) for key in keys)


def install_access(api: FastAPI, settings: AccessSettings) -> None:
    """Ask for a key and count requests, as the settings say; nothing where they say nothing."""
    if settings.keys or settings.rate is not None:
        api.add_middleware(Access, settings=settings)


class Buckets:
    """A token bucket for each caller: `burst` requests at once, `rate` a second on average."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate, self.burst = rate, burst
        self._filled: dict[bytes, tuple[float, float]] = {}  # caller -> tokens, seconds

    def wait_s(self, caller: bytes, now: float) -> float:
        """0 and a token less if the caller may go on; else the seconds until it may."""
        tokens, then = self._filled.get(caller, (self.burst, now))
        tokens = min(self.burst, tokens + (now - then) * self.rate)
        if tokens < 1:
            self._filled[caller] = (tokens, now)
            return (1 - tokens) / self.rate
        if caller not in self._filled and len(self._filled) >= MAX_CALLERS:
            self._forget(now)
        self._filled[caller] = (tokens - 1, now)
        return 0.0

    def _forget(self, now: float) -> None:
        """Drop callers whose bucket is full again; if there are none, the oldest half."""
        full = self.burst / self.rate
        kept = {c: v for c, v in self._filled.items() if now - v[1] < full}
        if len(kept) >= MAX_CALLERS:
            newest = sorted(kept.items(), key=lambda item: item[1][1])[MAX_CALLERS // 2 :]
            kept = dict(newest)
        self._filled = kept


class Access:
    """ASGI middleware: 401 without a key where keys are set, 429 to who asks too often."""

    def __init__(self, app: ASGIApp, settings: AccessSettings) -> None:
        self.app, self._settings = app, settings
        self._buckets = None if settings.rate is None else Buckets(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        key = self._key(scope) if self._settings.keys else None
        refused = self._settings.keys and key is None
        # Guesses at keys are counted too, on every path; but a full replica looks at none.
        if self._buckets is not None and (refused or _is_counted(scope["path"])):
            wait = math.ceil(self._buckets.wait_s(key or self._address(scope), time.monotonic()))
            if wait:
                words = f"more than {self._settings.rate:g} requests a second; retry in {wait} s"
                problem = Problem(429, "too_many_requests", words, retry_after_s=wait)
                await problem_response(problem, scope["path"])(scope, receive, send)
                return
        if refused:
            words = "a key is needed: Authorization: Bearer KEY, or X-API-Key: KEY"
            response = problem_response(Problem(401, "unauthorized", words), scope["path"])
            # On the page a browser asks for name and password; the key is the password.
            scheme = "Bearer" if _is_endpoint(scope["path"]) else "Basic"
            response.headers["WWW-Authenticate"] = f'{scheme} realm="classifier", charset="UTF-8"'
            await response(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _key(self, scope: Scope) -> bytes | None:
        """The digest of the key that is one of ours, if the request carries any."""
        found = None
        for given in map(_digest, _presented(scope)):
            for key in self._settings.keys:  # all of them: the time taken tells nothing
                if hmac.compare_digest(key, given):
                    found = key
        return found

    def _address(self, scope: Scope) -> bytes:
        """Who called, as the trusted proxy added last; b"" for everyone without one.

        Not the `client` of the scope: a replica's uvicorn takes that from X-Forwarded-For, in which
        a caller may write another address each time.
        """
        if (wanted := self._settings.client_header) is not None:
            for name, value in reversed(scope["headers"]):
                if name == wanted:
                    return bytes(value).rpartition(b",")[2].strip()[:64]
        return b""


def _is_open(path: str) -> bool:
    return path in ALWAYS_OPEN or path.startswith(ALWAYS_OPEN_UNDER)


def _is_endpoint(path: str) -> bool:
    return path == "/v2" or path.startswith(_ENDPOINTS)


def _is_counted(path: str) -> bool:
    return _is_endpoint(path) or path.startswith(_PAGE_ACTIONS)


def _presented(scope: Scope) -> list[bytes]:
    """The keys that a request carries, the first MOST_KEYS of them, in UTF-8."""
    keys: list[bytes] = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            keys.append(bytes(value).strip())
        elif name == b"authorization":
            scheme, _, rest = bytes(value).partition(b" ")
            if scheme.lower() == b"bearer":
                keys.append(rest.strip())
            elif scheme.lower() == b"basic":
                with suppress(ValueError):  # binascii.Error is one
                    keys.append(base64.b64decode(rest, validate=True).partition(b":")[2])
    # A header does not say its encoding: some clients send UTF-8, others Latin-1.
    return [k for key in keys[:MOST_KEYS] for k in (key, key.decode("latin-1").encode())]


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
