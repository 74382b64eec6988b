"""Every engine computes what the network computes."""

import numpy as np
import pytest

from cifar_model.engine import load_engine
from cifar_model.errors import InputError
from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN, export_model, load_model
from cifar_model.torch_engine import TorchEngine

RNG = np.random.default_rng(0)
SQUARES = RNG.integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def reference():
    return TorchEngine.load(BUILT_IN)(SQUARES)


@pytest.fixture(scope="module")
def openvino():
    return load_engine(BUILT_IN, read_config(BUILT_IN), "openvino", threads=1)


def test_openvino_computes_what_pytorch_does(openvino, reference):
    found = openvino(SQUARES)
    assert found.logits_BK.dtype == found.class_maps_BKhw.dtype == np.float32
    assert found.class_maps_BKhw.shape == (5, 10, 4, 4)
    # Where the CPU has bfloat16, that is what OpenVINO computes in.
    np.testing.assert_allclose(found.logits_BK, reference.logits_BK, atol=0.05)
    np.testing.assert_allclose(found.class_maps_BKhw, reference.class_maps_BKhw, atol=0.05)
    assert (found.logits_BK.argmax(1) == reference.logits_BK.argmax(1)).all()


def test_any_number_of_pictures_is_a_batch(openvino, reference):
    for count in (1, 2, 5):
        found = openvino(SQUARES[:count]).logits_BK
        np.testing.assert_allclose(found, reference.logits_BK[:count], atol=0.05)


def test_a_negative_scale_after_a_max_pool_is_not_folded(tmp_path):
    network, config = load_model(BUILT_IN)
    network.layer1[2].weight.data[::3] *= -1
    export_model(tmp_path / "model", network, config, b"")
    expected = TorchEngine(network, config.normalisation)(SQUARES).logits_BK
    found = load_engine(tmp_path / "model", config, "openvino")(SQUARES).logits_BK
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_an_unknown_engine_is_refused():
    with pytest.raises(
        InputError, match="engine 'tpu': expected one of auto, gpu, openvino, torch"
    ):
        load_engine(BUILT_IN, read_config(BUILT_IN), "tpu")
