"""The digits model served for real: on Ray Serve over HTTP, and in the process without it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import numpy as np
import pytest
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
def local_server(
    digits_model: Path, run_server: Callable[[ASGIApp], AbstractContextManager[str]]
) -> Iterator[str]:
    """Address of the endpoints over the model in this process, on a socket."""
    from cifar_model.predictor import Predictor

    with run_server(build_api(InProcess({"digits": Predictor.load(digits_model)}))) as url:
        yield url
