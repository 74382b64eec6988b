"""The digits model served for real: on Ray Serve over HTTP, and in the process without it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from serve_app.api import build_api
from serve_app.backends import InProcess


@pytest.fixture(scope="session")
def in_process(digits_model: Path) -> Iterator[httpx.Client]:
    """The endpoints over the model in this process."""
    from cifar_model.predictor import Predictor

    with TestClient(build_api(InProcess({"two-workers": Predictor.load(digits_model)}))) as client:
        yield client


@pytest.fixture(scope="session")
def over_http(served: str) -> Iterator[httpx.Client]:
    """The endpoints over the replicas of Ray Serve."""
    with httpx.Client(base_url=served, timeout=60) as client:
        yield client


@pytest.fixture(params=["in_process", "over_http"])
def client(request: pytest.FixtureRequest) -> httpx.Client:
    """Each test that asks for a client runs against both."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def png(sure_digit: tuple[np.ndarray, int]) -> bytes:
    """The digit as a PNG of 96x64 pixels: larger than the network's square, and not square."""
    wide = Image.new("RGB", (96, 64))
    wide.paste(Image.fromarray(sure_digit[0]).resize((64, 64), Image.Resampling.NEAREST), (16, 0))
    return encode(wide, "PNG")


def encode(image: Image.Image, kind: str) -> bytes:
    """The image's bytes in a format."""
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def run_server() -> Callable[[ASGIApp], AbstractContextManager[str]]:
    """Serves an application from a thread for as long as the block lasts, which has its address."""
    return _run_server


@pytest.fixture(scope="session")
def local_server(digits_model: Path) -> Iterator[str]:
    """Address of the endpoints over the model in this process, on a socket."""
    from cifar_model.predictor import Predictor

    with _run_server(build_api(InProcess({"digits": Predictor.load(digits_model)}))) as url:
        yield url


@contextmanager
def _run_server(app: ASGIApp) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
