"""Every engine computes what the network computes."""

import subprocess
import sys

import numpy as np
import pytest

from cifar_model.engine import load_engine
from cifar_model.errors import InputError
from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN, export_model, load_model
from cifar_model.sources import load_source
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


def test_int8_stays_near(reference):
    found = load_engine(BUILT_IN, read_config(BUILT_IN), "int8", threads=1)(SQUARES)
    apart = np.abs(found.logits_BK - reference.logits_BK).max()
    assert 0 < apart < 0.1 * np.ptp(reference.logits_BK), "not in 8 bits, or too far"
    assert (found.logits_BK.argmax(1) == reference.logits_BK.argmax(1)).all()


def test_int8_holds_the_accuracy_on_digits(digits_model):
    test = load_source("digits").test
    exact, near = (
        load_engine(digits_model, read_config(digits_model), name)(test.images).logits_BK.argmax(1)
        for name in ("openvino", "int8")
    )
    assert abs((near == test.labels).mean() - (exact == test.labels).mean()) <= 0.003
    assert (near == exact).mean() > 0.99


ONE_ENGINE_AFTER_ANOTHER = """
import signal
from cifar_model.engine import load_engine
from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN

engines = [load_engine(BUILT_IN, read_config(BUILT_IN), name) for name in ("openvino", "int8")]
engines.pop(0)
engines.pop(0)
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


def test_a_process_hears_signals_after_its_engines_are_gone():
    found = subprocess.run(
        [sys.executable, "-c", ONE_ENGINE_AFTER_ANOTHER], capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, "heard\n"), found.stderr


@pytest.mark.parametrize(("engine", "atol"), [("openvino", 0.05), ("int8", 0.3)])
def test_a_negative_scale_after_a_max_pool_is_not_folded(tmp_path, engine, atol):
    network, config = load_model(BUILT_IN)
    network.layer1[2].weight.data[::3] *= -1
    export_model(tmp_path / "model", network, config, b"")
    expected = TorchEngine(network, config.normalisation)(SQUARES).logits_BK
    found = load_engine(tmp_path / "model", read_config(tmp_path / "model"), engine)(
        SQUARES
    ).logits_BK
    np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.parametrize("engine", ["openvino", "int8"])
def test_channels_of_zeros_stay_finite(tmp_path, engine):
    network, config = load_model(BUILT_IN)
    for block in (network.prep, network.layer3):
        block[0].weight.data[:] = 0
    norm = next(m for m in network.layer3 if hasattr(m, "running_mean"))
    norm.weight.data[:], norm.bias.data[:] = 0, -1
    export_model(tmp_path / "model", network, config, b"")
    expected = TorchEngine(network, config.normalisation)(SQUARES).logits_BK
    found = load_engine(tmp_path / "model", read_config(tmp_path / "model"), engine)(
        SQUARES
    ).logits_BK
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_an_unknown_engine_is_refused():
    with pytest.raises(
        InputError, match="engine 'tpu': expected one of auto, gpu, openvino, int8, torch"
    ):
        load_engine(BUILT_IN, read_config(BUILT_IN), "tpu")
