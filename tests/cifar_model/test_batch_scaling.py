"""Learning rates at another batch size follow the stated rule."""

import pytest

from cifar_model.batch_scaling import with_batch_size
from cifar_model.errors import InputError
from cifar_model.recipe import load_recipe


@pytest.mark.parametrize(("name", "scale"), [("digits", 4.0), ("seed", 2.0), ("fast", 2.0)])
def test_four_times_the_batch(name, scale):
    recipe = load_recipe(name)
    larger = with_batch_size(recipe, 4 * recipe.batch_size)
    assert larger.batch_size == 4 * recipe.batch_size
    assert larger.peak_lr == pytest.approx(scale * recipe.peak_lr)
    assert larger.auxiliary_lr == pytest.approx(4 * recipe.auxiliary_lr)
    assert with_batch_size(larger, recipe.batch_size) == recipe


def test_the_same_batch_changes_nothing_and_none_is_refused():
    recipe = load_recipe("fast")
    assert with_batch_size(recipe, recipe.batch_size) == recipe
    for size in (0, -4):
        with pytest.raises(InputError, match=f"batch_size is {size}"):
            with_batch_size(recipe, size)
