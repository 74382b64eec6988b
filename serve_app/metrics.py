"""GET /metrics: what Ray's exporters say of serving, in Prometheus' text format.

Among them: ray_serve_num_http_requests_total by route and status,
ray_serve_http_request_latency_ms, and ray_serve_app_batch_size, the pictures in a forward pass.
Ray's exporter on each node has these and all its own; a Prometheus on the cluster asks those
(cluster/dashboards).
"""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterable
from http.client import HTTPException
from typing import Any

from fastapi import FastAPI, Response

from serve_app.schemas import ACCESS
from serve_app.unknown_paths import refuse_others

PREFIX = "ray_serve_"
TIMEOUT_S = 5.0
FRESH_S = 1.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def add_metrics(api: FastAPI) -> None:
    """Register the endpoint, in a replica of Serve."""
    latest = Shared(merged, FRESH_S)

    @api.get(
        "/metrics",
        tags=["about"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **ACCESS},
    )
    async def metrics() -> Response:
        """Request counts, latencies and batch sizes, for Prometheus; a few seconds old."""
        return Response(await latest(), media_type=CONTENT_TYPE)

    refuse_others(api, "/metrics")


class Shared:
    """What `work` returns, the same for all who ask within so many seconds of its start."""

    def __init__(self, work: Callable[[], Awaitable[str]], seconds: float) -> None:
        self.work, self.seconds = work, seconds
        self._running: asyncio.Future[str] | None = None
        self._started = 0.0  # time.monotonic()

    async def __call__(self) -> str:
        """Its result; it goes on for the others when one of them hangs up."""
        old = time.monotonic() > self._started + self.seconds
        if self._running is None or (self._running.done() and old):
            self._running = asyncio.ensure_future(self.work())
            self._started = time.monotonic()
        return await asyncio.shield(self._running)


async def merged() -> str:
    """The page of all nodes together."""
    urls = await asyncio.to_thread(exporters)
    return merge(await asyncio.gather(*(asyncio.to_thread(page_of, url) for url in urls)))


def exporters() -> list[str]:
    """Address of the metrics exporter of every living node."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()
    return [
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for node in nodes
        if node["Alive"]
    ]


def merge(pages: Iterable[str]) -> str:
    """Several nodes' pages as one: a family of metrics is described once, samples below it."""
    families: dict[str, tuple[list[str], list[str]]] = {}
    for page in pages:
        name = ""
        for line in page.splitlines():
            if line.startswith("# HELP "):
                name = line.split(" ", 3)[2]
            if not name.startswith(PREFIX):
                continue
            described, samples = families.setdefault(name, ([], []))
            if not line.startswith("#"):
                samples.append(line)
            elif line not in described and len(described) < 2:
                described.append(line)
    lines = [line for described, samples in families.values() for line in described + samples]
    return "\n".join(lines) + "\n"


def page_of(exporter: str) -> str:
    """What an exporter says; nothing, if it does not say all of it."""
    try:
        with urllib.request.urlopen(exporter, timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode())
    except (OSError, HTTPException):
        # Its node just went, or goes in the middle of the answer.
        return ""
