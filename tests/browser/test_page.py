"""The page in a real browser: a picture in, its class and the evidence out."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

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

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, served):
    """The page, loaded; at the end every request it made must have gone to our own server."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(served)
    expect(page.get_by_role("heading", name="Image classifier")).to_be_visible()
    yield page
    assert all(url.startswith((served, "blob:", "data:")) for url in requests), requests
    page.close()


@pytest.fixture
def digit_file(tmp_path, sure_digit) -> tuple[Path, str]:
    """The digit in the middle of a wide picture, and its class."""
    image, label = sure_digit
    wide = Image.new("RGB", (320, 240))
    wide.paste(Image.fromarray(image).resize((240, 240)), (40, 0))
    path = tmp_path / "digit.png"
    wide.save(path)
    return path, str(label)


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)


def test_an_uploaded_picture_gets_its_class_and_its_overlay(page, digit_file):
    path, label = digit_file
    upload(page, path)
    expect(page.get_by_test_id("label-output-value")).to_have_text(label, timeout=30_000)
    expect(page.get_by_text("%").first).to_be_visible()
    overlay = page.locator("#overlay img")
    expect(overlay).to_be_visible()
    assert overlay.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [320, 240]


def test_a_file_that_is_no_picture_gets_a_message(page, tmp_path):
    path = tmp_path / "text.png"
    path.write_text("this is text")
    upload(page, path)
    expect(page.get_by_text("not a PNG, JPEG or WebP").first).to_be_visible(timeout=30_000)


def test_nothing_is_wider_than_a_phone(page, digit_file):
    page.set_viewport_size({"width": 390, "height": 844})
    upload(page, digit_file[0])
    expect(page.get_by_test_id("label-output-value")).to_be_visible(timeout=30_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
