"""tta=auto looks twice at what the model is unsure of, and at nothing else."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from cifar_model.model_folder import BUILT_IN, export_model
from cifar_model.predictor import Predictor, softmax
from cifar_model.resnet9 import ResNet9
from serve_app.backends import InProcess, Running
from serve_app.classification import probabilities_of
from serve_app.problems import Problem


@pytest.fixture(scope="module")
def predictor():
    return Predictor.load(BUILT_IN)


def test_the_unsure_are_averaged_with_their_mirror_images(predictor):
    squares = list(np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8))
    logits = predictor.logits(np.stack(squares))
    # Noise leaves the model unsure; call the surer half sure.
    bound = float(np.median(softmax(logits).max(axis=1)))
    backend = InProcess({"model": predictor})
    found, again = asyncio.run(probabilities_of(backend, "model", squares, bound))
    assert (again == (softmax(logits).max(axis=1) < bound)).all()
    assert again.sum() == 10
    mirror = predictor.logits(np.stack(squares)[:, :, ::-1])
    averaged = softmax((logits + mirror) / 2)
    expected = np.where(again[:, None], averaged, softmax(logits))
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_model_exported_anew_between_the_two_looks_is_asked_again(predictor, tmp_path):
    config = replace(predictor.config, class_names=("cat", "dog"))
    export_model(tmp_path / "two", ResNet9(2), config, (BUILT_IN / "history.csv").read_bytes())
    versions = iter([Running(predictor), Running(Predictor.load(tmp_path / "two"))])

    async def find(name):
        return next(versions)

    backend = InProcess.on_demand({"model": predictor.config}, find, find)
    squares = [np.zeros((32, 32, 3), np.uint8)]
    with pytest.raises(Problem) as problem:
        asyncio.run(probabilities_of(backend, "model", squares, 1.0))
    assert problem.value.code == "model_unavailable"
