"""The page's API, through gradio_client as a script would use it."""

from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

USERS = 50


@pytest.fixture(scope="module")
def page(served):
    return Client(served, verbose=False, httpx_kwargs={"timeout": 60})


@pytest.fixture
def picture(tmp_path, png):
    path = tmp_path / "digit.png"
    path.write_bytes(png)
    return handle_file(str(path))


def classify(page, picture, **how):
    return page.predict(picture_path=picture, api_name="/classify", **how)


def test_it_names_the_classes_and_shows_the_evidence(page, picture, sure_digit):
    labels, overlay, words, seen, removed = classify(page, picture, top_k=3)
    assert labels["label"] == str(sure_digit[1])
    assert len(labels["confidences"]) == 3
    assert Image.open(overlay).size == (96, 64)
    assert Image.open(seen).size == Image.open(removed).size == (160, 160)
    assert words.startswith("**Faithfulness")


def test_another_class_or_layer_shows_other_evidence(page, picture):
    views = [
        np.asarray(Image.open(classify(page, picture, **how)[1]))
        for how in ({}, {"explained": "8"}, {"layer": "layer2"}, {"opacity": 0})
    ]
    assert all((views[0] != other).any() for other in views[1:])


@pytest.mark.parametrize(
    ("how", "words"), [({}, "not a PNG, JPEG or WebP"), ({"explained": "x"}, "no class 'x'")]
)
def test_what_can_not_be_used_is_a_message(page, tmp_path, picture, how, words):
    if not how:
        path = tmp_path / "text.png"
        path.write_bytes(b"this is text")
        picture = handle_file(str(path))
    with pytest.raises(Exception, match=words):
        classify(page, picture, **how)


@pytest.mark.parametrize(("given", "shown"), [(2.4, 2), (3.0, 3), (None, 5)])
def test_a_number_that_is_half_typed_is_taken_for_what_it_is_near(page, picture, given, shown):
    labels = classify(page, picture, top_k=given)[0]
    assert len(labels["confidences"]) == shown


def test_every_action_has_a_name(page):
    names = page.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(names) == {
        "/classify",
        "/example_pictures",
        "/misclassified",
        "/explain_misclassified",
        "/report",
        "/augmented",
        "/models",
        "/describe",
    }


def test_mistakes_come_filtered_sorted_and_explained(page):
    words, gallery = page.predict(order="least sure", count=60, api_name="/misclassified")
    confidence = [float(item["caption"].split(" ")[1].rstrip("%,")) for item in gallery]
    assert words.startswith(f"{len(gallery)} of ")
    assert confidence == sorted(confidence)
    predicted, true = gallery[0]["caption"].split(" ")[0], gallery[0]["caption"].split(" ")[-1]
    _, chosen = page.predict(true=true, predicted=predicted, api_name="/misclassified")
    assert chosen and all(
        item["caption"].startswith(f"{predicted} ") and item["caption"].endswith(f" {true}")
        for item in chosen
    )
    strips = page.predict(count=1, api_name="/explain_misclassified")
    assert len(strips) == 1
    assert Image.open(strips[0]["image"]).size == (3 * 160 + 2 * 8, 160)


def test_many_users_at_once_get_their_own_results(served, tmp_path):
    """Each sends a picture of a size and colour of its own, and gets just that one back."""

    def use(i):
        path = tmp_path / f"{i}.png"
        colour = (5 * i, 255 - 5 * i, 3 * i)
        Image.new("RGB", (40 + i, 30 + i), colour).save(path)
        answer = classify(
            Client(served, verbose=False, httpx_kwargs={"timeout": 60}),
            handle_file(str(path)),
            opacity=0,
        )
        with Image.open(answer[1]) as overlay:
            return overlay.size == (40 + i, 30 + i) and overlay.getpixel((3, 3)) == colour

    with ThreadPoolExecutor(USERS) as pool:
        assert all(pool.map(use, range(USERS)))


class Addresses(HTMLParser):
    """Collects what a page's elements load; links that a visitor may follow load nothing."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        if tag != "a":
            self.found += [value for name, value in attributes if value and name in ("src", "href")]


def test_the_page_asks_no_other_host_for_anything(served):
    page = Addresses()
    page.feed(httpx.get(served, timeout=60).text)
    # The browser loads these as well, once the page's script has read of them.
    page.found += httpx.get(f"{served}/config", timeout=60).json()["stylesheets"]
    assert any(address.endswith(".js") for address in page.found)
    hosts = {urlsplit(urljoin(served, address)).netloc for address in page.found}
    assert hosts == {urlsplit(served).netloc}
