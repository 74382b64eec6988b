"""The page's actions without a browser: of which model they are, and of what has come since."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.state_holder import SessionState
from gradio.utils import get_upload_folder

from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN
from serve_app.backends import InProcess
from serve_app.commands import how_to_evaluate
from serve_app.images import decode_image
from serve_app.tabs.messages import class_index
from serve_app.ui import build_ui

NOTHING = [{}, None, None, None, None]
MANY = tuple(f"class {i}" for i in range(200))


@pytest.fixture
def folder(tmp_path):
    """A model folder without a report."""
    return shutil.copytree(BUILT_IN, tmp_path / "a model")


@pytest.fixture
def page(folder, tmp_path, monkeypatch):
    """The page over it, and over a model of many classes; neither is loaded."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    config = read_config(folder)
    models = {"a": config, "many": replace(config, class_names=MANY)}
    backend = InProcess.on_demand(models, None, None)
    return build_ui(backend, {"a": folder, "many": folder})


def ask(page, action, *given, by=None):
    """What an action answers to the browser, in which `by` has set it off."""
    chosen = next(fn for fn in page.fns.values() if fn.api_name == action)
    event, session = gr.EventData(by, None), SessionState(page)
    answer = page.process_api(chosen, list(given), state=session, event_data=event)
    return asyncio.run(answer)["data"]


def mistakes(page):
    return ask(page, "misclassified", "a", "any class", "any class", "surest", 12)


def classify(page, action, picture, by=None):
    return ask(page, action, picture, "a", 5, "predicted", "res2", "gradcam", 0.5, by=by)


def test_without_a_picture_the_page_shows_nothing_and_who_asks_for_it_is_told(page):
    assert classify(page, "answer", None) == NOTHING
    button = next(b for b in page.blocks.values() if getattr(b, "value", None) == "Classify")
    with pytest.warns(UserWarning, match="give a picture first"):
        assert classify(page, "answer", None, by=button) == NOTHING
    with pytest.raises(gr.Error, match="give a picture first"):
        classify(page, "classify", None)


def test_a_file_that_is_no_picture_is_a_warning_on_the_page_and_a_scripts_error(page):
    path = Path(get_upload_folder(), "upload", "text.png")
    path.parent.mkdir(parents=True)
    path.write_text("this is text")
    file = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
    # Where there is no browser Gradio turns its own into Python's.
    with pytest.warns(UserWarning, match="not a PNG, JPEG or WebP"):
        assert classify(page, "answer", file) == NOTHING
    with pytest.raises(gr.Error, match="not a PNG, JPEG or WebP"):
        classify(page, "classify", file)


def test_a_picture_of_the_data_is_classified_as_it_is(page):
    shown = next(b for b in page.blocks.values() if getattr(b, "elem_id", None) == "picture")
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    sent = shown.preprocess(shown.postprocess(pixels))
    assert (decode_image(Path(sent).read_bytes()) == pixels).all()


def test_a_report_that_comes_while_the_page_is_served_is_shown(page, folder):
    words, _, body = mistakes(page)
    assert "jobs.evaluate" in words and body["visible"] is False
    (folder / "report").mkdir()
    np.savez(
        folder / "report" / "misclassified.npz",
        images=np.zeros((2, 32, 32, 3), np.uint8),
        index=np.arange(2),
        true=np.array([3, 5]),
        predicted=np.array([5, 3]),
        confidence=np.array([0.9, 0.8], np.float32),
        true_probability=np.array([0.1, 0.2], np.float32),
    )
    words, gallery, body = mistakes(page)
    assert words.startswith("2 of 2 ") and len(gallery) == 2 and body["visible"] is True


def test_so_is_data_that_comes_to_the_machine(page, tmp_path, monkeypatch):
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "cifar10"))
    words, body = ask(page, "look", "a")
    assert "CIFAR-10 is not on this machine" in words and body["visible"] is False
    assert ask(page, "fit", "a")[1]["visible"] is False
    (tmp_path / "cifar10").mkdir()
    words, body = ask(page, "look", "a")
    assert words.startswith("**Draw**") and body["visible"] is True
    assert ask(page, "fit", "a")[1]["visible"] is True


def test_files_of_another_model_are_not_shown_as_the_models_own(page, folder):
    assert "has not been evaluated" in ask(page, "report", "a")[0]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "metrics": {"test_accuracy": 0.5}}))
    assert "has not been evaluated" in ask(page, "report", "a")[0]
    (folder / "config.json").write_text(json.dumps({**config, "seed": 1}))
    words, *plots, lr_words, lr_plot, card = ask(page, "report", "a")
    assert "no longer holds it" in words and (lr_words, card) == ("", "")
    assert not any(shown["visible"] for shown in (*plots, lr_plot))
    with pytest.raises(gr.Error, match="no longer holds it"):
        mistakes(page)


def test_a_script_may_ask_for_as_many_classes_as_any_model_has(page):
    (top_k,) = [b for b in page.blocks.values() if getattr(b, "label", None) == "Top k"]
    assert top_k.preprocess(len(MANY)) == len(MANY)
    bounds = {name: ask(page, "adapt", name)[1]["maximum"] for name in ("a", "many")}
    assert bounds == {"a": 10, "many": len(MANY)}


def test_very_many_classes_are_not_all_named(page):
    assert "airplane, automobile" in ask(page, "describe", "a")[0]
    assert "truck" in ask(page, "describe", "a")[0]
    assert "200 classes: class 0, " in (heading := ask(page, "describe", "many")[0])
    assert heading.endswith("class 4 and 195 more.")
    with pytest.raises(ValueError, match=r"no class 'x': expected one of .* and 195 more"):
        class_index("x", MANY)


def test_the_command_for_a_report_runs_as_it_is_written(folder):
    command = how_to_evaluate(folder).split("```sh\n")[1].split("\n```")[0]
    assert command == f"python -m jobs.evaluate --model '{folder}'"
