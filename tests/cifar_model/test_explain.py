"""Grad-CAM maps follow their definition, and explaining leaves the model as it was."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from cifar_model.errors import InputError
from cifar_model.explain import GradCam
from cifar_model.layers import DEFAULT_LAYER, EXPLAINABLE_LAYERS
from cifar_model.model_config import read_config
from cifar_model.model_folder import load_model
from cifar_model.normalisation import normalise
from cifar_model.predictor import Predictor
from cifar_model.torch_engine import TorchEngine


@pytest.fixture(scope="module", params=["openvino", "torch"])
def predictor(request, digits_model):
    return Predictor.load(digits_model, engine=request.param)


@pytest.fixture(scope="module")
def network(digits_model):
    return load_model(digits_model)[0]


@pytest.fixture(scope="module")
def digit():
    from cifar_model.sources import load_source

    return load_source("digits").test.images[3]


def by_definition(network, images, class_index):
    """ReLU of the maps weighted by the mean gradient of the logit, before any scaling."""
    maps = network.features(images).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(network.head(maps)[0, class_index], maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(1).relu()[0].detach()


@pytest.mark.parametrize("class_index", [0, 3, 9])
def test_the_default_layers_map_is_grad_cam_by_definition(predictor, network, digit, class_index):
    images = normalise(torch.from_numpy(digit[None]), predictor.config.normalisation)
    coarse = by_definition(network, images, class_index)
    found = predictor.explain(digit, class_index=class_index).map
    assert found.shape == (32, 32)
    # The package scales to 0..1 and enlarges 4x4 to 32x32; the cells' centres keep their order.
    cells = torch.from_numpy(found).reshape(4, 8, 4, 8).mean(dim=(1, 3))
    correlation = np.corrcoef(cells.flatten(), coarse.flatten())[0, 1]
    assert correlation > 0.95


@pytest.mark.parametrize("class_index", range(10))
def test_the_closed_form_is_what_the_package_finds(digits_model, network, class_index):
    from cifar_model.sources import load_source

    predictor = Predictor.load(digits_model, engine="torch")
    package = GradCam(network, predictor.config.normalisation)
    for image in load_source("digits").test.images[:4]:
        found = predictor.explain(image, class_index=class_index).map
        expected = package(image, class_index, DEFAULT_LAYER)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_most_probable_class_has_the_packages_map_in_any_engine(predictor, network):
    from cifar_model.sources import load_source

    package = GradCam(network, predictor.config.normalisation)
    for image in load_source("digits").test.images[:4]:
        found = predictor.explain(image)
        expected = package(image, found.class_index, DEFAULT_LAYER)
        # OpenVINO computes in bfloat16 where the CPU has it. A class without evidence has a map
        # of nothing but the difference, scaled to 0..1 like any other.
        np.testing.assert_allclose(found.map, expected, atol=0.05)


@pytest.mark.parametrize("layer", EXPLAINABLE_LAYERS)
def test_every_layer_gives_a_map_from_0_to_1(predictor, digit, layer):
    found = predictor.explain(digit, layer=layer)
    assert found.map.dtype == np.float32
    assert found.map.min() >= 0 and 0.99 < found.map.max() <= 1
    assert found.layer == layer


def test_without_a_class_the_most_probable_one_is_explained(predictor, digit):
    found = predictor.explain(digit)
    assert found.class_index == found.probabilities.argmax()
    again = predictor.explain(digit, class_index=found.class_index)
    assert (again.map == found.map).all()


def test_an_unknown_layer_is_refused(predictor, digit):
    with pytest.raises(InputError, match=r"layer 'linear': expected one of res2"):
        predictor.explain(digit, layer="linear")


def test_explaining_leaves_the_model_as_it_was(network, digits_model, digit):
    normalisation = read_config(digits_model).normalisation
    engine = TorchEngine(network, normalisation)
    before = engine(digit[None])
    grad_cam = GradCam(network, normalisation)
    grad_cam(digit, 1, "layer2")
    assert (engine(digit[None]).logits_BK == before.logits_BK).all()
    assert not any(module._forward_hooks for module in network.modules())
    assert not any(module._forward_hooks for module in grad_cam._network.modules())
    assert all(p.grad is None for p in network.parameters())


def test_threads_do_not_disturb_each_other(predictor, digit):
    expected = [predictor.explain(digit, class_index=c, layer="layer2").map for c in range(4)]
    with ThreadPoolExecutor(4) as pool:
        jobs = [
            pool.submit(predictor.explain, digit, class_index=i % 4, layer="layer2")
            for i in range(24)
        ]
        for i, job in enumerate(jobs):
            assert (job.result().map == expected[i % 4]).all()
