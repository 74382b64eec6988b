"""What can be searched, and what is refused before anything starts."""

import pytest

from cifar_model.errors import InputError
from cifar_model.recipe import load_recipe
from jobs.search_space import (
    Choice,
    Range,
    band,
    centre,
    check_dimensions,
    parse_dimension,
    recipe_of,
)

DIGITS, FAST = load_recipe("digits"), load_recipe("fast")


def test_ranges_and_choices():
    assert parse_dimension("weight_decay=1e-5:1e-2:log") == Range("weight_decay", 1e-5, 1e-2, True)
    assert parse_dimension("dropout=0:0.3") == Range("dropout", 0, 0.3, False)
    assert parse_dimension("batch_size=256,512") == Choice("batch_size", (256, 512))
    assert parse_dimension("flip=none,random") == Choice("flip", ("none", "random"))
    assert parse_dimension("nesterov=true,false") == Choice("nesterov", (True, False))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dropout", "expected FIELD="),
        ("dropout=", "expected FIELD="),
        ("dropout=a:b", "must be numbers"),
        ("dropout=0.3:0.1", "the smaller first"),
        ("dropout=0:0.3:log", "no logarithm"),
        ("dropout=0:0.3:linear", "only 'log'"),
        ("peak_lr=1:2", "searched already"),
    ],
)
def test_what_is_no_dimension_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        parse_dimension(text)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["drop_out=0:0.3"], "did you mean 'dropout'"),
        (["dropout=0:1.5"], "dropout is 1.5"),
        (["batch_size=64,1"], "batch_size is 1"),
        (["batch_size=64:128"], "batch_size is 64.0"),
        (["dropout=0:0.1", "dropout=0:0.2"], "given twice"),
        (["epochs=1,2"], "the same for all trials"),
    ],
)
def test_what_a_recipe_cannot_have_is_refused(texts, words):
    with pytest.raises(InputError, match=words):
        check_dimensions(DIGITS, [parse_dimension(text) for text in texts])


def test_the_first_trial_is_the_recipe_where_the_search_reaches_it():
    dimensions = [
        band("--lr", "peak_lr", 0.01, 1.0, log=True),
        parse_dimension("weight_decay=1e-3:1e-1:log"),
        parse_dimension("batch_size=32,64"),
        parse_dimension("dropout=0.1:0.3"),
    ]
    assert centre(DIGITS, dimensions) == {
        "peak_lr": DIGITS.peak_lr,
        "weight_decay": pytest.approx(1e-2),
        "batch_size": 64,
        "dropout": pytest.approx(0.2),
    }


def test_a_trials_recipe_keeps_the_proportion_of_its_rates():
    recipe = recipe_of(FAST, {"peak_lr": FAST.peak_lr * 3, "weight_decay": 0.5})
    assert recipe.auxiliary_lr == pytest.approx(FAST.auxiliary_lr * 3)
    assert (recipe.weight_decay, recipe.momentum) == (0.5, FAST.momentum)
