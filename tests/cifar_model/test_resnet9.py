"""The network is the seed's, layer for layer."""

import pytest
import torch

from cifar_model.layers import DEFAULT_LAYER, EXPLAINABLE_LAYERS
from cifar_model.resnet9 import ResNet9

BLOCK = ("BatchNorm2d", "ReLU", "Dropout")


def block(channels, side, parameters, *, conv_side=None):
    """The rows of one block: conv -> (max-pool) -> batch norm -> ReLU -> dropout."""
    rows = [("Conv2d", (channels, conv_side or side, conv_side or side), parameters)]
    if conv_side:
        rows.append(("MaxPool2d", (channels, side, side), 0))
    shapes = [(name, (channels, side, side), 0) for name in BLOCK]
    return [*rows, ("BatchNorm2d", shapes[0][1], 2 * channels), *shapes[1:]]


# As the seed printed it, top to bottom: 37 layers.
SEED_TABLE = [
    *block(64, 32, 1_792),
    *block(128, 16, 73_856, conv_side=32),
    *block(128, 16, 147_584),
    *block(128, 16, 147_584),
    *block(256, 8, 295_168, conv_side=16),
    *block(512, 4, 1_180_160, conv_side=8),
    *block(512, 4, 2_359_808),
    *block(512, 4, 2_359_808),
    # The seed's MaxPool2d(4) over a 4x4 map, written for maps of any size.
    ("AdaptiveMaxPool2d", (512, 1, 1), 0),
    ("Linear", (10,), 5_130),
]


def layer_table(network):
    """(layer type, output shape without the batch, parameters) of each leaf layer, as it is run."""
    rows = []

    def record(module, _inputs, output):
        rows.append((type(module).__name__, tuple(output.shape[1:]), count_parameters(module)))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(record)
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, 32, 32))
    return rows


def count_parameters(network):
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_layers_are_those_of_the_seeds_table():
    assert len(SEED_TABLE) == 37
    assert layer_table(ResNet9(10, dropout=0.1)) == SEED_TABLE


def test_it_has_the_seeds_number_of_parameters():
    assert count_parameters(ResNet9(10)) == 6_575_370


def test_the_global_pool_is_the_seeds_pool_at_32_pixels():
    maps = torch.randn(2, 512, 4, 4)
    assert torch.equal(ResNet9(10).pool(maps), torch.nn.MaxPool2d(4)(maps))


@pytest.mark.parametrize("name", ["res1", "res2"])
def test_residual_blocks_add_their_input(name):
    network = ResNet9(10).eval()
    residual = network.get_submodule(name)
    channels = residual.block[0][0].in_channels
    x = torch.randn(1, channels, 4, 4)
    assert torch.equal(residual(x), x + residual.block(x))


@pytest.mark.parametrize("size", [16, 32, 64, 104])
def test_any_multiple_of_eight_fits(size):
    network = ResNet9(3).eval()
    images = torch.randn(2, 3, size, size)
    assert network.features(images).shape == (2, 512, size // 8, size // 8)
    assert network(images).shape == (2, 3)


def test_forward_is_head_after_features():
    network = ResNet9(4, logit_scale=0.5).eval()
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(images), network.head(network.features(images)))


def test_logit_scale_scales_the_logits():
    plain, scaled = ResNet9(4).eval(), ResNet9(4, logit_scale=0.125).eval()
    scaled.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(scaled(images), plain(images) / 8)


def test_explainable_layers_exist():
    network = ResNet9(10)
    assert DEFAULT_LAYER in EXPLAINABLE_LAYERS
    for name in EXPLAINABLE_LAYERS:
        network.get_submodule(name)
