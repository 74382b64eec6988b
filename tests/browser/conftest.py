"""The page in Chromium, twice: served by Ray, and as the built Space in a process without Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from jobs.free_port import free_port
from tests.models import add_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# A Space has none of these. SPACE_PYTHON names a Python that really lacks them.
WITHOUT = ("ray", "pytorch_lightning", "albumentations", "pyarrow")
RUN = "; ".join(
    [
        "import runpy, sys",
        f"sys.modules.update(dict.fromkeys({WITHOUT!r}))",
        "sys.path.insert(0, '.')",
        "runpy.run_path('app.py', run_name='__main__')",
    ]
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def space_address(space: tuple[str, int]) -> str:
    return space[0]


@pytest.fixture(scope="module")
def space(
    digits_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, int]]:
    """Address and process of a built Space with two models, the second without a report."""
    from serve_app.space.__main__ import main

    folder = tmp_path_factory.mktemp("space")
    second = add_model(folder / "second", "second", digits_model)
    shutil.rmtree(second / "report")
    built = folder / "out"
    main(["build", "--out", str(built), "--model", str(digits_model), "--model", str(second)])
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["GRADIO_SERVER_PORT"] = str(port)
    python = os.environ.get("SPACE_PYTHON", sys.executable)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [python, "-c", RUN], cwd=built, env=environment, stdout=log, stderr=log
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(address, process, folder / "log")
        yield address, process.pid
    finally:
        process.terminate()
        process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            httpx.get(address)
        except httpx.HTTPError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture(params=["served", "space_address"])
def address(request: pytest.FixtureRequest) -> str:
    """Each test that asks for the page runs against both."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def open_page(chromium: Browser):
    """Opens pages; at the end every request they made must have gone to their own server."""
    pages: list[tuple[Page, str, list[str]]] = []

    def opened(address: str, **options: object) -> Page:
        # Every page has a context, so a session, of its own.
        page = chromium.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        expect(page.get_by_role("heading", name="Image classifier")).to_be_visible(timeout=30_000)
        expect(page.get_by_role("tab", name="Classify").first).to_be_visible(timeout=30_000)
        pages.append((page, address, requests))
        return page

    yield opened
    for page, address, requests in pages:
        page.close()
        outside = [url for url in requests if not url.startswith((address, "blob:", "data:"))]
        assert not outside


@pytest.fixture
def page(open_page, address: str) -> Page:
    return open_page(address)


@pytest.fixture
def digit_file(tmp_path: Path, sure_digit) -> tuple[Path, str]:
    """The digit in the middle of a wide picture, and its class."""
    image, label = sure_digit
    wide = Image.new("RGB", (320, 240))
    wide.paste(Image.fromarray(image).resize((240, 240)), (40, 0))
    path = tmp_path / "digit.png"
    wide.save(path)
    return path, str(label)
