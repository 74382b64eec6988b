"""The range test: what it suggests of which curve, and that it leaves nothing changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cifar_model import augment
from cifar_model.dataset import limit_train, split_for_training
from cifar_model.errors import InputError
from cifar_model.lr_finder import RangeTest, range_test
from cifar_model.recipe import load_recipe
from cifar_model.run_plan import RunPlan, Sweep
from cifar_model.sources import load_source

LRS = tuple(np.geomspace(1e-5, 10, 100))


def curve(loss_of):
    """A range test whose loss is a function of the rate's logarithm to base ten."""
    return RangeTest(LRS, tuple(float(loss_of(x)) for x in np.log10(LRS)))


def test_the_suggestion_is_where_the_loss_has_nearly_ended_its_fall():
    def loss(x):
        return 2.3 - 2 * min(1, max(0, (x + 3) / 2)) + 50 * max(0, x) ** 2

    found = curve(loss)
    assert found.problem is None
    assert found.suggestion == pytest.approx(10**-1.1, rel=0.3)  # 95 % of the way from -3 to -1


@pytest.mark.parametrize(
    ("loss_of", "words"),
    [
        (lambda x: 2.3 + 0.01 * np.sin(20 * x), "no usable minimum"),
        (lambda x: 2.3 + max(0, x + 3), "no usable minimum"),
        (lambda x: 2.3 - 0.3 * (x + 5), "still falls at the last rate"),
    ],
)
def test_a_curve_without_a_usable_minimum_suggests_nothing(loss_of, words):
    found = curve(loss_of)
    assert found.suggestion is None and words in found.problem
    assert found.to_json()["suggestion"] is None


def test_a_sweep_that_diverges_at_once_says_so():
    assert "diverged after 3 steps" in RangeTest(LRS[:3], (2.3, 5.0, 9.0)).problem
    found = RangeTest((), ()).to_json()
    assert "diverged after 0 steps" in found["problem"] and found["points"] == []


@pytest.mark.parametrize("values", [(0, 1, 100), (1, 0.1, 100), (1e-5, 1, 5)])
def test_impossible_sweeps_are_refused(values):
    with pytest.raises(InputError):
        Sweep(*values)


@pytest.fixture(scope="module")
def data():
    dataset = load_source("digits", image_size=16)
    return split_for_training(limit_train(dataset, 240, seed=0))


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("muon", marks=pytest.mark.long)])
def test_it_is_reproducible_and_leaves_random_states_as_found(data, optimizer):
    recipe = replace(load_recipe("digits"), batch_size=8, optimizer=optimizer)
    plan = RunPlan(recipe, 10, seed=3, precision="32-true")
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(1).item(), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)
    sweep = Sweep(1e-4, 1.0, 30)
    first = range_test(plan, data, sweep, threads=1)
    assert (torch.rand(1).item(), np.random.rand()) == expected
    assert range_test(plan, data, sweep, threads=1) == first
    assert first.losses[0] > min(first.losses)
    assert first.lrs == tuple(sweep.lr(step) for step in range(len(first.lrs)))


def test_every_step_sees_images_as_small_as_in_the_first_epoch(data, monkeypatch):
    seen, shrink = [], augment.shrink

    def noted(images, recipe, epoch):
        small = shrink(images, recipe, epoch)
        seen.append((epoch, small.shape[-1]))
        return small

    monkeypatch.setattr(augment, "shrink", noted)
    recipe = replace(load_recipe("digits"), epochs=2, batch_size=100)
    recipe = replace(recipe, low_resolution=16, low_resolution_share=0.5)
    sweep = Sweep(1e-5, 1e-4, 30)
    range_test(RunPlan(recipe, 10, seed=0, precision="32-true"), data, sweep, threads=1)
    assert {side for _, side in seen} == {8} and max(epoch for epoch, _ in seen) > 2
