"""The parts of the Report tab: each from a file of its own, which may be damaged."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest

from cifar_model.history import read_history
from cifar_model.lr_finder import RangeTest
from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN
from cifar_model.report_folder import Report
from serve_app.confusion_table import MOST_CLASSES
from serve_app.tabs import report
from serve_app.tabs.report import (
    LR_FIND,
    lr_part,
    lr_points,
    matrix_heading,
    report_part,
    training_part,
)

LRS = tuple(np.geomspace(1e-5, 10, 100).tolist())
CONFIG = read_config(BUILT_IN)


def swept(usable):
    """A range test as the finder writes it."""
    x = np.log10(LRS)
    loss = 2.3 - 2 * np.clip((x + 3) / 2, 0, 1) + 50 * np.maximum(0, x) ** 2
    return RangeTest(LRS, tuple((loss if usable else np.full(100, 2.3)).tolist()))


def beside(folder, content):
    """A model folder with this lr_find.json."""
    path = folder / LR_FIND
    path.parent.mkdir()
    path.write_text(content)
    return folder


def test_the_curve_is_the_finders_own():
    test = swept(usable=True)
    points = lr_points(json.loads(json.dumps(test.to_json())))
    assert len(points) == 2 * len(LRS)
    for line, losses in (("measured", test.losses), ("smoothed", test.smoothed)):
        part = points[points["line"] == line]
        assert part["loss"].tolist() == pytest.approx(list(losses))
        assert part["log10 of the learning rate"].tolist() == pytest.approx(np.log10(LRS))


def test_what_a_learning_rate_test_suggests_stands_beside_its_curve(tmp_path):
    test = swept(usable=True)
    curve, words = lr_part(CONFIG, beside(tmp_path, json.dumps(test.to_json())))
    assert curve is not None and f"suggests **{test.suggestion:.3g}**" in words


def test_a_test_that_suggests_nothing_says_why(tmp_path):
    test = swept(usable=False)
    curve, words = lr_part(CONFIG, beside(tmp_path, json.dumps(test.to_json())))
    assert curve is not None and test.problem in words


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"points": [{"lr": 0}]}', '{"points": [], "suggestion": "x"}', "\x00"],
)
def test_a_damaged_lr_file_is_words(tmp_path, content):
    curve, words = lr_part(CONFIG, beside(tmp_path, content))
    assert curve is None and "can't be used" in words and "jobs.lr_find" in words


def test_a_damaged_report_or_history_is_words(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text("{}")
    (tmp_path / "history.csv").write_text("epoch,loss\n0,x\n")
    report, words = report_part(tmp_path)
    assert report is None and "can't be used" in words
    loss, accuracy, trouble = training_part(tmp_path)
    assert loss is None and accuracy is None and "history.csv can't be used" in trouble


def test_the_built_in_models_history_is_two_curves():
    loss, accuracy, trouble = training_part(BUILT_IN)
    assert set(loss["images"]) == set(accuracy["images"]) == {"training", "validation"}
    assert not trouble


def test_one_epoch_is_words_for_a_line_would_show_nothing(tmp_path):
    whole = (BUILT_IN / "history.csv").read_text().splitlines(keepends=True)
    (tmp_path / "history.csv").write_text("".join(whole[:2]))
    loss, accuracy, words = training_part(tmp_path)
    (first,) = read_history(tmp_path / "history.csv")
    assert loss is None and accuracy is None
    assert f"{first.val_loss:.4f} nats" in words and f"{first.train_accuracy:.2%}" in words


def test_only_a_matrix_that_has_cells_is_to_be_clicked():
    def heading(classes):
        names = tuple(map(str, range(classes)))
        confusion = np.eye(classes, dtype=np.int64)
        return matrix_heading(Report("made", 1, 1.0, 0.0, names, (1.0,) * classes, confusion))

    assert "click" in heading(MOST_CLASSES) and "click" not in heading(MOST_CLASSES + 1)


def test_the_command_for_a_test_that_is_missing_runs_as_it_is_written(tmp_path):
    curve, words = lr_part(CONFIG, tmp_path / "a model")
    command = shlex.split(words.split("```sh\n")[1].split("\n```")[0])
    what = ["--data", "cifar10", "--recipe", "fast", "--image-size", "32"]
    out = ["--out", str(tmp_path / "a model" / LR_FIND.parent)]
    assert curve is None and command == ["python", "-m", "jobs.lr_find", *what, *out]


def test_of_a_recipe_without_a_name_the_file_is_asked_for(tmp_path):
    tuned = replace(CONFIG, recipe=replace(CONFIG.recipe, name="fast-tuned"))
    _, words = lr_part(tuned, tmp_path)
    assert "--recipe fast-tuned.json" in words and "the file that the recipe was read from" in words


def test_in_a_space_a_command_is_for_where_it_was_built(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "jobs_are_here", lambda: False)
    _, words = lr_part(CONFIG, tmp_path)
    assert "Where this Space was built" in words and str(tmp_path) not in words
