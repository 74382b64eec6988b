"""Eigen-CAM: the package's map up to its sign, that of what stands out, in little memory."""

import tracemalloc

import numpy as np
import pytest
from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

from cifar_model.eigen_cam import principal_map


@pytest.fixture
def maps():
    """Channels (16, 12, 12) that agree on one spot, beside noise."""
    noise = np.random.default_rng(0).normal(size=(16, 12, 12)).astype(np.float32)
    noise[:, 3:5, 7:9] += 10 * np.linspace(0.5, 1.5, 16, dtype=np.float32)[:, None, None]
    return noise


def test_it_is_the_packages_map_up_to_its_sign(maps):
    ours, theirs = principal_map(maps), get_2d_projection(maps[None])[0]
    sign = np.sign((ours * theirs).sum())
    np.testing.assert_allclose(ours, sign * theirs, atol=1e-3)


@pytest.mark.parametrize("factor", [1, -1])
def test_what_stands_out_is_positive(maps, factor):
    found = principal_map(factor * maps)
    assert np.unravel_index(found.argmax(), found.shape) in [(y, x) for y in (3, 4) for x in (7, 8)]
    assert found.max() > -found.min()


def test_large_maps_take_no_more_than_some_copies_of_themselves():
    maps = np.random.default_rng(0).normal(size=(8, 64, 64)).astype(np.float32)
    tracemalloc.start()
    try:
        principal_map(maps)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * maps.nbytes
