"""The page's API, through gradio_client as a script would use it."""

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image


@pytest.fixture(scope="module")
def page(served):
    return Client(served, verbose=False)


@pytest.fixture
def picture(tmp_path, png):
    path = tmp_path / "digit.png"
    path.write_bytes(png)
    return handle_file(str(path))


def classify(page, picture, *, top_k=3, explained="the best class", layer="res2", opacity=0.5):
    return page.predict(picture, top_k, explained, layer, opacity, api_name="/classify")


def test_it_names_the_classes_and_shows_the_evidence(page, picture, sure_digit):
    labels, overlay, seen = classify(page, picture)
    assert labels["label"] == str(sure_digit[1])
    assert len(labels["confidences"]) == 3
    assert Image.open(overlay).size == (96, 64)
    assert Image.open(seen).size == (160, 160)


def test_another_class_or_layer_shows_other_evidence(page, picture):
    views = [
        np.asarray(Image.open(classify(page, picture, **how)[1]))
        for how in ({}, {"explained": "8"}, {"layer": "layer2"}, {"opacity": 0})
    ]
    assert all((views[0] != other).any() for other in views[1:])


def test_what_is_no_picture_is_a_message(page, tmp_path):
    path = tmp_path / "text.png"
    path.write_bytes(b"this is text")
    with pytest.raises(Exception, match="not a PNG, JPEG or WebP"):
        classify(page, handle_file(str(path)))


def test_the_page_asks_no_other_host_for_anything(served):
    import re

    import httpx

    hosts = set(re.findall(r"https?://([^/\"'\s\\]+)", httpx.get(served).text))
    loaded = {h for h in hosts if "fonts" in h or "cdn" in h}
    assert not loaded
