"""Which pictures are looked at twice."""

import pytest

from cifar_model.recipe import fast, seed
from cifar_model.tta import sure_from


def test_what_counts_as_sure_is_what_label_smoothing_left_of_it():
    assert sure_from(seed(), 10) == pytest.approx(0.9)
    assert sure_from(fast(), 10) == pytest.approx(0.9 * 0.82)
