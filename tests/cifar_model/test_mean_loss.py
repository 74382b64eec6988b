"""The mean of a loss over images."""

import math

import pytest
import torch

from cifar_model.mean_loss import MeanLoss


def test_batches_weigh_as_many_images_as_they_have():
    loss = MeanLoss()
    loss.update(torch.tensor(1.0), 30)
    loss.update(torch.tensor(4.0), 10)
    assert loss.compute().item() == pytest.approx(1.75)
    loss.reset()
    loss.update(torch.tensor(4.0), 10)
    assert loss.compute().item() == 4


@pytest.mark.parametrize("none", [math.nan, math.inf])
def test_a_loss_that_is_no_number_shows(none):
    loss = MeanLoss()
    for value in (1.0, none, 1.0):
        loss.update(torch.tensor(value), 10)
    assert not math.isfinite(loss.compute().item())


def test_it_keeps_no_graph():
    loss = MeanLoss()
    loss.update(torch.tensor(2.0, requires_grad=True), 10)
    assert not loss.total.requires_grad
