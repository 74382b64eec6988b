"""The faithfulness number: what is removed, and what the model then says."""

import asyncio

import numpy as np
import pytest

from cifar_model.predictor import Predictor, softmax
from serve_app.backends import InProcess
from serve_app.faithfulness import measure_faithfulness, remove, strongest_and_weakest


def test_a_fifth_of_the_square_goes_and_the_rest_stays():
    square = np.full((10, 10, 3), 7, np.uint8)
    strengths = np.arange(1, 101, dtype=np.float32).reshape(10, 10)
    for places, rows in zip(strongest_and_weakest(strengths), ((8, 10), (0, 2)), strict=True):
        changed = remove(square, places, np.array([1, 2, 3], np.uint8))
        gone = (changed == (1, 2, 3)).all(axis=2)
        assert gone[slice(*rows)].all() and gone.sum() == 20
        assert (changed[~gone] == 7).all()
    assert (square == 7).all()


def test_of_a_map_of_few_places_those_alone_go_and_as_many_of_the_others():
    few = np.zeros((10, 10), np.float32)
    few[4, 4:7] = 0.5, 1, 0.2
    strongest, weakest = strongest_and_weakest(few)
    assert sorted(strongest) == [44, 45, 46]
    assert len(weakest) == 3 and not few.ravel()[weakest].any()


def test_places_of_one_value_go_from_all_over_the_square_and_each_time_the_same():
    half = np.zeros((10, 10), np.float32)
    half[5:] = 1
    strongest, weakest = strongest_and_weakest(half)
    assert set(strongest // 10) == set(range(5, 10)) and set(weakest // 10) == set(range(5))
    assert (strongest_and_weakest(half)[0] == strongest).all()


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
    assert 0 < measured.share <= 0.2
    gone = (measured.removed != sure_digit[0]).any(axis=2).sum()
    assert gone <= round(measured.share * 32 * 32)


def test_a_map_without_evidence_has_none(backend, sure_digit):
    found = explain(backend, sure_digit[0])
    found.map[:] = 0
    assert asyncio.run(measure_faithfulness(backend, sure_digit[0], found, "digits")) is None
