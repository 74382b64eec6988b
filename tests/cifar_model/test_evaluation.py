"""What a report says can be recounted from the predictions it saves."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, log_loss

from cifar_model.dataset import LabelledImages
from cifar_model.evaluation import Evaluation, write_report


@pytest.fixture
def evaluation():
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(4), 80)
    logits = rng.normal(size=(80, 4)).astype(np.float32) * 3
    logits[np.arange(80), labels] += 2
    return Evaluation(("a", "b", "c", "d"), labels, logits)


@pytest.fixture
def labelled(evaluation):
    rng = np.random.default_rng(1)
    return LabelledImages(rng.integers(0, 256, (80, 16, 16, 3), np.uint8), evaluation.labels)


def test_figures_are_those_of_scikit_learn(evaluation):
    assert (evaluation.confusion == confusion_matrix(evaluation.labels, evaluation.predicted)).all()
    assert evaluation.loss == pytest.approx(
        log_loss(evaluation.labels, evaluation.probabilities), rel=1e-5
    )
    assert evaluation.accuracy == evaluation.confusion.trace() / 80


def test_the_report_equals_a_recount_of_its_predictions(tmp_path, evaluation, labelled):
    write_report(tmp_path / "report", evaluation, labelled, [], {"model": "made"})
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    with (tmp_path / "report" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = [row["true"] == row["predicted"] for row in rows]
    assert report["model"] == "made" and report["images"] == len(rows) == 80
    assert report["accuracy"] == sum(right) / 80
    assert report["misclassified"] == 80 - sum(right)
    for label, name in enumerate("abcd"):
        own = [r for row, r in zip(rows, right, strict=True) if row["true"] == str(label)]
        assert report["per_class_accuracy"][name] == sum(own) / len(own)


def test_averaging_with_the_mirror_image_is_reported_apart(evaluation):
    other = np.random.default_rng(2).normal(size=(80, 4)).astype(np.float32)
    both = replace(evaluation, mirrored_logits=other)
    mean = (evaluation.logits + other) / 2
    assert both.flip_accuracy == (mean.argmax(axis=1) == evaluation.labels).mean()
    assert both.to_json()["accuracy"] == evaluation.accuracy
    assert evaluation.to_json()["flip_accuracy"] is None


def test_misclassified_images_come_with_classes_the_most_confident_first(
    tmp_path, evaluation, labelled
):
    write_report(tmp_path / "report", evaluation, labelled, [], {})
    with np.load(tmp_path / "report" / "misclassified.npz", allow_pickle=False) as wrong:
        assert len(wrong["images"]) == (evaluation.labels != evaluation.predicted).sum() > 0
        assert (wrong["true"] != wrong["predicted"]).all()
        assert (np.diff(wrong["confidence"]) <= 0).all()
        assert (wrong["images"] == labelled.images[wrong["index"]]).all()


def test_an_old_report_goes_only_if_asked_and_only_for_a_whole_new_one(
    tmp_path, evaluation, labelled
):
    folder = tmp_path / "report"
    write_report(folder, evaluation, labelled, [], {"model": "old"})
    with pytest.raises(FileExistsError):
        write_report(folder, evaluation, labelled, [], {})
    with pytest.raises(TypeError):
        write_report(folder, evaluation, labelled, [], {"model": object()}, replace=True)
    assert json.loads((folder / "report.json").read_text())["model"] == "old"
    write_report(folder, evaluation, labelled, [], {"model": "new"}, replace=True)
    assert json.loads((folder / "report.json").read_text())["model"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_real_reports_pictures_can_be_opened(digits_model):
    for name in ("training_curves.png", "confusion_matrix.png", "misclassified.png"):
        with Image.open(digits_model / "report" / name) as image:
            assert image.width > 400 and len(image.convert("L").getcolors(256) or []) > 10


def test_only_the_unsure_images_are_looked_at_twice(evaluation):
    other = np.random.default_rng(2).normal(size=(80, 4)).astype(np.float32)
    both = replace(evaluation, mirrored_logits=other, sure=0.9)
    sure = evaluation.probabilities.max(axis=1) >= 0.9
    assert 0 < sure.sum() < 80
    expected = np.where(sure, evaluation.predicted, (evaluation.logits + other).argmax(axis=1))
    assert both.tta_auto_accuracy == (expected == evaluation.labels).mean()
    assert both.reexamined == pytest.approx(1 - sure.mean())
    assert evaluation.to_json()["tta_auto_accuracy"] is None
