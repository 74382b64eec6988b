"""Optimisers and schedules are what the recipe says."""

from dataclasses import replace

import pytest
import torch

from cifar_model.lit_classifier import build_optimizer, one_cycle
from cifar_model.muon import MuonWithSGD
from cifar_model.recipe import load_recipe
from cifar_model.resnet9 import ResNet9

DIGITS = load_recipe("digits")


@pytest.mark.parametrize(
    ("optimizer", "kind"),
    [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD), ("muon", MuonWithSGD)],
)
def test_every_parameter_is_in_exactly_one_group(optimizer, kind):
    network = ResNet9(10)
    built = build_optimizer(network, replace(DIGITS, optimizer=optimizer))
    assert type(built) is kind
    parameters = [p for group in built.param_groups for p in group["params"]]
    assert len({id(p) for p in parameters}) == len(parameters)
    assert sum(p.numel() for p in parameters) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("decayed", [True, False])
def test_biases_and_norms_are_decayed_only_if_asked(decayed):
    recipe = replace(DIGITS, decay_biases_and_norms=decayed, weight_decay=0.01)
    for group in build_optimizer(ResNet9(10), recipe).param_groups:
        small = all(p.ndim == 1 for p in group["params"])
        assert group["weight_decay"] == (0.01 if decayed or not small else 0.0)


def test_muon_takes_the_filters_and_frozen_scales_are_left_out():
    network = ResNet9(10)
    recipe = replace(DIGITS, optimizer="muon", train_norm_scales=False)
    groups = build_optimizer(network, recipe).param_groups
    assert all(p.ndim == 4 for p in groups[0]["params"]) and groups[0]["muon"]
    assert not any(group["muon"] for group in groups[1:])
    trained = {id(p) for group in groups for p in group["params"]}
    left_out = [name for name, p in network.named_parameters() if id(p) not in trained]
    assert len(left_out) == 8
    assert all(
        type(network.get_submodule(n[: -len(".weight")])).__name__ == "BatchNorm2d"
        for n in left_out
    )


@pytest.mark.parametrize("steps", [1, 2, 4, 5])
def test_the_shortest_schedules_have_a_rate_for_every_step(steps):
    recipe = replace(DIGITS, warmup_fraction=0.25)  # of four steps one is the warm-up
    optimizer = build_optimizer(ResNet9(10), recipe)
    schedule = one_cycle(optimizer, recipe, steps)
    rates = [schedule.get_last_lr()[0]]
    for _ in range(steps - 1):
        optimizer.step()
        schedule.step()
        rates.append(schedule.get_last_lr()[0])
    assert len(rates) == steps and all(0 < rate <= recipe.peak_lr for rate in rates)
