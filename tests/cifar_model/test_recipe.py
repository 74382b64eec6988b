"""Recipes are data: they go to JSON and back, and say what is wrong with a bad one."""

import json
from dataclasses import replace

import pytest

from cifar_model.errors import InputError
from cifar_model.recipe import RECIPES, default_recipe, from_json, load_recipe


def test_the_seed_recipe_is_the_seeds():
    recipe = load_recipe("seed")
    assert (recipe.epochs, recipe.batch_size, recipe.optimizer) == (24, 512, "adam")
    assert recipe.peak_lr == 2.56e-3
    assert (recipe.crop_padding, recipe.cutout_size, recipe.cutout_probability) == (8, 8, 0.2)
    assert recipe.augmentation == "albumentations"


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_json_round_trip(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_the_digits_have_a_recipe_of_their_own():
    assert default_recipe("digits").name == "digits"
    assert default_recipe("cifar10").name == default_recipe("folder:pets").name == "seed"


def test_a_path_is_read(tmp_path):
    path = tmp_path / "mine.json"
    recipe = replace(load_recipe("seed"), name="mine", epochs=3)
    path.write_text(json.dumps(recipe.to_json()))
    assert load_recipe(str(path)) == recipe


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(InputError, match=r"not one of digits, .*seed.* no file at"):
        load_recipe(str(tmp_path / "nothing"))


@pytest.mark.parametrize("content", ["{", "[1]", '"seed"'])
def test_a_file_that_holds_no_object_is_refused(tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"bad\.json"):
        load_recipe(str(path))


def test_a_misspelt_field_gets_a_hint():
    values = {**load_recipe("seed").to_json(), "peek_lr": 1.0}
    with pytest.raises(InputError, match="'peek_lr'; did you mean 'peak_lr'"):
        from_json(values)


def test_a_missing_field_is_named():
    values = load_recipe("seed").to_json()
    del values["peak_lr"]
    with pytest.raises(InputError, match="missing peak_lr"):
        from_json(values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("batch_size", 1),
        ("optimizer", "adamw"),
        ("peak_lr", 0.0),
        ("peak_lr", float("nan")),
        ("peak_lr", "0.1"),
        ("momentum", 1.0),
        ("auxiliary_momentum", 1.0),
        ("momentum", 0.0),  # with nesterov
        ("weight_decay", -1e-4),
        ("label_smoothing", 1.0),
        ("warmup_fraction", 0.0),
        ("dropout", 1.0),
        ("logit_scale", 0.0),
        ("flip", "sometimes"),
        ("crop_padding", 17),
        ("cutout_probability", 1.5),
        ("nesterov", 1),
    ],
)
def test_a_bad_value_is_refused_by_name(field, value):
    values = {**load_recipe("digits").to_json(), field: value}
    with pytest.raises(InputError, match=f"recipe: {field} is"):
        from_json(values)


def test_alternating_flip_needs_the_batched_augmentation():
    with pytest.raises(InputError, match="alternating"):
        replace(load_recipe("seed"), flip="alternating")
