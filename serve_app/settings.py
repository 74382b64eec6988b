"""Settings that Ray and Ray Serve read from the environment when Ray starts."""

from __future__ import annotations

import os
import socket

SERVE_SETTINGS = {
    # The fast HTTP path: HAProxy in front, and no per-request bookkeeping behind it.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Calls by handle go through Ray, which asks for its token; see `no_pickle_port`.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    # When a replica dies with a request in hand, the proxy asks another. Every request to a model
    # may be repeated; for that it must be in the proxy's buffer (bytes) as a whole.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "131072",
    # Headers that stop halfway hold a connection for a minute and not an hour. It is about what a
    # client has still to send: one that only listens, to a stream of events, is not cut off.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    # HAProxy would tell whatever listens on port 514 of this machine the path of each request, and
    # with it the names of files that visitors uploaded.
    "RAY_SERVE_HAPROXY_LOG_TARGET": "/dev/null",
    # The third failed check replaces a proxy that died: after 1 s and not after 30.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.3",
    # A node whose processes are gone fails five checks in 2.5 s and not in 15. Until then Ray may
    # place on it what is to replace its replicas.
    "RAY_health_check_period_ms": "500",
    # What clients may not tell Serve itself, and what is refused before it; see there.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.serve_headers:middlewares",
    # A request's line is in the log when it is answered, and not a thousand requests later.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # Ctrl-C on a local server need not wait 30 s for a load balancer elsewhere to notice. The proxy
    # of this machine does so in two reloads, 0.6 s each; in 1 s, on busy cores, it did not.
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "3",
}
# HAProxy's own, which would otherwise be the same for every Ray on a machine.
_PORTS = ("RAY_SERVE_HAPROXY_METRICS_PORT", "RAY_SERVE_HAPROXY_STATS_PORT")


def cluster_address() -> str | None:
    """RAY_ADDRESS, if it names a cluster: "local" asks for a Ray of one's own, as without it."""
    address = os.environ.get("RAY_ADDRESS")
    return None if address in (None, "", "local") else address


def apply_serve_settings() -> None:
    """Put the settings into the environment, before Ray starts; a user's own values win."""
    for name, value in SERVE_SETTINGS.items():
        os.environ.setdefault(name, value)


def apply_local_settings() -> None:
    """Ports by which the proxies of two servers on one machine stay apart, and their priority."""
    stay_on_this_machine()
    # Ray runs its workers at 15, where the parts of a batch wait for whatever else is running.
    os.environ.setdefault("RAY_worker_niceness", "0")
    for name in _PORTS:
        os.environ.setdefault(name, str(_free_port()))


def stay_on_this_machine() -> None:
    """A Ray of this machine listens on 127.0.0.1 alone and asks for its token."""
    # What Ray does on other systems than Linux.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Ray's own default for one that it starts; unset, it warns of it each time.
    os.environ.setdefault("RAY_AUTH_MODE", "token")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
