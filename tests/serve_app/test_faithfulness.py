"""The faithfulness number: what is removed, and what the model then says."""

import asyncio

import numpy as np
import pytest

from cifar_model.predictor import Predictor, softmax
from serve_app.backends import InProcess
from serve_app.faithfulness import measure_faithfulness, remove


def test_a_fifth_of_the_square_goes_and_the_rest_stays():
    square = np.full((10, 10, 3), 7, np.uint8)
    strengths = np.arange(100, dtype=np.float32).reshape(10, 10)
    changed = remove(square, strengths, np.array([1, 2, 3], np.uint8))
    assert (changed[8:] == (1, 2, 3)).all()
    assert (changed[:8] == 7).all()
    assert (square == 7).all()


@pytest.fixture(scope="module")
def backend(digits_model):
    return InProcess({"digits": Predictor.load(digits_model)})


def explain(backend, picture):
    return asyncio.run(backend.explain(picture, None, "res2", model="digits"))


def test_it_is_the_fall_of_the_class_that_classifying_the_changed_picture_shows(
    backend, sure_digit
):
    found = explain(backend, sure_digit[0])
    measured = asyncio.run(measure_faithfulness(backend, sure_digit[0], found, "digits"))
    again = softmax(asyncio.run(backend.logits(measured.removed[None], model="digits")))[0]
    assert measured.whole == pytest.approx(found.probabilities[found.class_index])
    assert measured.fall == pytest.approx(measured.whole - again[found.class_index], abs=1e-6)
    assert (measured.removed != sure_digit[0]).any(axis=2).sum() <= round(0.2 * 32 * 32)


def test_a_map_without_evidence_has_none(backend, sure_digit):
    found = explain(backend, sure_digit[0])
    found.map[:] = 0
    assert asyncio.run(measure_faithfulness(backend, sure_digit[0], found, "digits")) is None
