"""The forward pass for GPUs: its folding anywhere, the rest where there is one."""

import numpy as np
import pytest
import torch
from torch import nn

from cifar_model.engine import gpu_count, load_engine
from cifar_model.errors import InputError
from cifar_model.gpu_engine import BATCHES, fold_norms
from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN, load_model
from cifar_model.torch_engine import TorchEngine

SQUARES = np.random.default_rng(0).integers(0, 256, (BATCHES[-1] + 5, 32, 32, 3), np.uint8)
on_a_gpu = pytest.mark.skipif(not gpu_count(), reason="needs an NVIDIA GPU")


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(("upside_down", "left"), [(False, 0), (True, 1)])
def test_folded_norms_change_nothing_and_a_negative_scale_after_a_max_pool_stays(upside_down, left):
    network, config = load_model(BUILT_IN)
    if upside_down:
        network.layer1[2].weight.data[::3] *= -1
    folded = fold_norms(network)
    assert (norms(network), norms(folded)) == (8, left)
    expected, found = (TorchEngine(n, config.normalisation)(SQUARES[:5]) for n in (network, folded))
    np.testing.assert_allclose(found.logits_BK, expected.logits_BK, atol=1e-4)


@pytest.mark.skipif(gpu_count() > 0, reason="there is a GPU")
def test_without_a_gpu_it_is_refused():
    with pytest.raises(InputError, match="engine gpu: PyTorch can use no NVIDIA GPU here"):
        load_engine(BUILT_IN, read_config(BUILT_IN), "gpu")


@on_a_gpu
@pytest.mark.parametrize("count", [1, 3, len(SQUARES)])
def test_a_batch_of_any_size_has_the_logits_of_pytorch(count):
    engine = load_engine(BUILT_IN, read_config(BUILT_IN), "gpu")
    engine(SQUARES[::-1].copy())  # leaves its rows in the graphs' memory
    found = engine(SQUARES[:count])
    expected = TorchEngine.load(BUILT_IN)(SQUARES[:count])
    assert found.logits_BK.dtype == found.class_maps_BKhw.dtype == np.float32
    np.testing.assert_allclose(found.logits_BK, expected.logits_BK, atol=0.1)
    np.testing.assert_allclose(found.class_maps_BKhw, expected.class_maps_BKhw, atol=0.1)


@on_a_gpu
def test_a_gpu_computes_the_reference_in_float32():
    exact = load_model(BUILT_IN)[0].double()
    engine = TorchEngine.load(BUILT_IN)
    images = engine.normalised(SQUARES[:5]).cpu().double()
    with torch.no_grad():
        expected = exact(images).numpy()
    np.testing.assert_allclose(engine(SQUARES[:5]).logits_BK, expected, atol=1e-4)
