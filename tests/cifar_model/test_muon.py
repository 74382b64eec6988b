"""Steps of Muon, which moves whole filters."""

import pytest
import torch

from cifar_model.muon import MuonWithSGD, orthogonalise


@pytest.mark.parametrize("shape", [(16, 64), (64, 16)])
def test_orthogonalising_moves_singular_values_towards_one(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -1.5, 16)) @ v
    before = torch.linalg.svdvals(matrix / matrix.norm())
    after = torch.linalg.svdvals(orthogonalise(matrix[None])[0].float())
    assert 0.015 < before.min() < 0.02
    assert after.min() > 0.65 and after.max() < 1.25


def test_a_muon_step_keeps_filters_at_one_unit_of_norm_an_output_channel():
    torch.manual_seed(0)
    filters = torch.nn.Parameter(torch.randn(8, 4, 3, 3))
    optimizer = MuonWithSGD([{"params": [filters], "lr": 0.0, "momentum": 0.6, "muon": True}])
    filters.grad = torch.randn_like(filters)
    optimizer.step()
    assert torch.allclose(filters.norm(), torch.tensor(8**0.5))
