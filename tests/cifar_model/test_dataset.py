"""Splits are seeded, stratified and complete; arrays that don't fit together are refused."""

from dataclasses import replace

import numpy as np
import pytest

from cifar_model.dataset import (
    ImageDataset,
    LabelledImages,
    check_dataset,
    limit_train,
    split_for_training,
    stratified_split,
)
from cifar_model.errors import InputError


def labelled(count, classes=3, size=16, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.resize(np.arange(classes), count).astype(np.int64)
    return LabelledImages(rng.integers(0, 256, (count, size, size, 3), np.uint8), labels)


def dataset(train=60, test=9):
    return ImageDataset(labelled(train), labelled(test, seed=1), ("a", "b", "c"), "made")


@pytest.mark.parametrize(("counts", "size"), [((50, 30, 20), 10), ((7, 5, 3), 4), ((500, 3), 50)])
def test_a_split_is_disjoint_complete_and_keeps_the_class_shares(counts, size):
    labels = np.repeat(np.arange(len(counts)), counts)
    rest, part = stratified_split(labels, size, seed=1)
    assert len(part) == size
    assert sorted([*rest, *part]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        assert abs((labels[part] == label).sum() - count * size / len(labels)) <= 1
        assert (labels[rest] == label).any() and (labels[part] == label).any()


def test_a_split_depends_on_its_seed_alone():
    labels = np.repeat(np.arange(5), 20)
    _, first = stratified_split(labels, 25, seed=3)
    _, again = stratified_split(labels, 25, seed=3)
    _, other = stratified_split(labels, 25, seed=4)
    assert (first == again).all() and (first != other).any()


def test_training_looks_at_a_tenth_of_the_training_images_and_not_at_the_test_set():
    whole = dataset()
    data = split_for_training(whole)
    assert (len(data.train), len(data.val)) == (54, 6)
    everything = np.concatenate([data.train.images, data.val.images]).reshape(60, -1)
    assert set(map(bytes, everything)) == set(map(bytes, whole.train.images.reshape(60, -1)))


def test_normalisation_is_mean_and_spread_of_the_training_images():
    whole = dataset()
    measured = split_for_training(whole).normalisation
    scaled = whole.train.images / 255
    np.testing.assert_allclose(measured.mean, scaled.mean(axis=(0, 1, 2)), atol=1e-12)
    np.testing.assert_allclose(measured.std, scaled.std(axis=(0, 1, 2)), atol=1e-12)


def test_a_constant_channel_normalises_to_zero():
    whole = dataset()
    whole.train.images[..., 1] = 7
    assert split_for_training(whole).normalisation.std[1] == 1


def test_a_limit_keeps_the_test_set_and_the_class_shares():
    limited = limit_train(dataset(), 12, seed=0)
    assert np.bincount(limited.train.labels).tolist() == [4, 4, 4]
    assert len(limited.test) == 9


@pytest.mark.parametrize("counts", [(100,) * 10, (1000, 2, 2, 2, 2)])
def test_a_limit_is_the_number_of_images_that_remain(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    for limit in (2 * len(counts), len(labels) - 1):
        assert len(stratified_split(labels, limit, seed=0, left=0)[1]) == limit


def test_a_limit_leaves_an_image_of_the_rarest_class():
    labels = np.repeat([0, 1], [500, 1])
    assert 1 in labels[stratified_split(labels, 100, seed=0, left=0)[1]]


@pytest.mark.parametrize("limit", [0, 5, 61])
def test_a_limit_out_of_range_is_refused(limit):
    with pytest.raises(InputError, match="--train-limit"):
        limit_train(dataset(), limit, seed=0)


def test_the_fingerprint_changes_with_any_pixel_label_or_name():
    whole = dataset()
    fingerprint = whole.fingerprint()
    assert dataset().fingerprint() == fingerprint
    assert replace(whole, class_names=("a", "b", "d")).fingerprint() != fingerprint
    whole.test.images[0, 0, 0, 0] ^= 1
    assert whole.fingerprint() != fingerprint
    whole.test.images[0, 0, 0, 0] ^= 1
    whole.train.labels[0] = 1
    assert whole.fingerprint() != fingerprint


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda d: replace(d, class_names=("a",)), "at least 2"),
        (lambda d: replace(d, test=d.test.take(np.arange(0))), "test set is empty"),
        (
            lambda d: replace(d, test=LabelledImages(d.test.images[:, :8], d.test.labels)),
            r"expected uint8 \(16, 16, 3\)",
        ),
        (
            lambda d: replace(d, test=LabelledImages(d.test.images[:5], d.test.labels)),
            "5 test images but 9 labels",
        ),
        (lambda d: replace(d, class_names=("a", "b")), "label 2 in the training set"),
        (lambda d: replace(d, class_names=("a", "b", "c", "d")), "no image of class d in"),
        (lambda d: replace(d, class_names=tuple("abcdefghij")), "d, e, f, g, h and 2 more in"),
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(broken, words):
    with pytest.raises(InputError, match=words):
        check_dataset(broken(dataset()))
