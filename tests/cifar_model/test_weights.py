"""The names and shapes that a model folder's tensors must have."""

import pytest

from cifar_model.resnet9 import ResNet9
from cifar_model.weights import tensor_shapes


@pytest.mark.parametrize("classes", [2, 10])
def test_the_expected_tensors_are_the_networks(classes):
    state = ResNet9(classes).state_dict()
    assert tensor_shapes(classes) == {name: tuple(tensor.shape) for name, tensor in state.items()}
