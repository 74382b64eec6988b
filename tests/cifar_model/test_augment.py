"""The batched augmentation draws what albumentations draws, and does what it says with it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cifar_model.augment import (
    Draws,
    albumentations_pipeline,
    apply,
    draw,
    first_flip,
    shrink,
)
from cifar_model.normalisation import Normalisation, normalise
from cifar_model.recipe import load_recipe
from cifar_model.resnet9 import ResNet9

SEED = load_recipe("seed")
BATCHED = replace(SEED, augmentation="batched")
NORMALISATION = Normalisation((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))
COUNT = 4000


def draws_of(recipe, count=COUNT, *, size=32, epoch=0, seed=0):
    generator = torch.Generator().manual_seed(7)
    return draw(recipe, size, torch.arange(count), epoch=epoch, seed=seed, generator=generator)


def still(count, **changes):
    """Draws that leave images as they are, for a recipe without padding."""
    zero, no = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool)
    names = ("top_B", "left_B", "flip_B", "hole_B", "hole_top_B", "hole_left_B")
    values = dict(zip(names, (zero, zero, no, no, zero, zero), strict=True))
    return Draws(**{**values, **changes})


def to_pixels(images):
    """Undo normalisation: float (B, 3, S, S) -> 0..255 (B, S, S, 3)."""
    mean, std = (torch.tensor(v) for v in (NORMALISATION.mean, NORMALISATION.std))
    return (images.permute(0, 2, 3, 1) * std + mean) * 255


def measure(images):
    """What was done to the coordinate image: crop offsets, flips, holes."""
    pixels = to_pixels(images).round().int().numpy()
    rows, columns, marks = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    seen = []
    for row, column, mark in zip(rows, columns, marks, strict=True):
        inside = mark == 255  # neither padding (0) nor hole (mean)
        hole = mark == round(NORMALISATION.mean[2] * 255)
        y, x = np.argwhere(inside)[0]
        step = np.diff(column[y][inside[y]])[0]
        flip = step < 0
        top = row[y, x] - y
        left = column[y, x] - (31 - x if flip else x)
        edges = np.argwhere(hole)
        corner = tuple(edges[0]) if len(edges) else None
        area = len(edges)
        whole = area == 0 or tuple(edges[-1] - edges[0]) == (7, 7)
        seen.append((top, left, flip, corner, area, whole))
    return seen


def coordinate_image():
    """Each pixel says where it came from; the last channel marks it as the picture's own."""
    row, column = np.mgrid[:32, :32]
    return np.stack([row, column, np.full((32, 32), 255)], axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def both():
    """Measurements of the same image augmented by albumentations and by the batch."""
    pipeline = albumentations_pipeline(SEED, 32, NORMALISATION, seed=0)
    image = coordinate_image()
    reference = torch.stack([pipeline(image) for _ in range(COUNT)])
    batch = torch.from_numpy(image).expand(COUNT, 32, 32, 3)
    ours = apply(batch, draws_of(BATCHED), BATCHED, NORMALISATION)
    return measure(reference), measure(ours)


def test_crop_offsets_are_uniform_over_the_same_range_in_both(both):
    for measured in both:
        for axis in (0, 1):
            counts = np.bincount([m[axis] + 8 for m in measured], minlength=17)
            assert len(counts) == 17
            expected = COUNT / 17
            # Chi-square with 16 degrees of freedom: 39.3 is its 99.9th percentile.
            assert ((counts - expected) ** 2 / expected).sum() < 39.3


def test_half_of_the_images_are_flipped_in_both(both):
    for measured in both:
        assert abs(np.mean([m[2] for m in measured]) - 0.5) < 4 * 0.5 / COUNT**0.5


def test_a_fifth_of_the_images_has_one_whole_hole_in_both(both):
    for measured in both:
        rate = np.mean([m[4] > 0 for m in measured])
        assert abs(rate - 0.2) < 4 * 0.4 / COUNT**0.5
        assert {m[4] for m in measured} == {0, 64}
        assert all(m[5] for m in measured)


def test_holes_lie_anywhere_inside_in_both(both):
    for measured in both:
        corners = np.array([m[3] for m in measured if m[3]])
        assert corners.min() == 0 and corners.max() == 24
        assert abs(corners.mean() - 12) < 4 * 7.2 / (2 * len(corners)) ** 0.5


def test_without_draws_it_only_normalises():
    recipe = replace(BATCHED, crop_padding=0)
    images = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    ours = apply(images, still(5), recipe, NORMALISATION)
    assert torch.equal(ours, normalise(images, NORMALISATION))
    assert ours.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(to_pixels(ours).numpy(), images.numpy(), atol=1e-3)


def test_reflection_repeats_no_border_pixel():
    recipe = replace(BATCHED, crop_padding=4, padding="reflect")
    images = torch.from_numpy(coordinate_image())[None]
    pixels = to_pixels(apply(images, still(1), recipe, NORMALISATION)).round()
    assert pixels[0, :6, 10, 0].tolist() == [4, 3, 2, 1, 0, 1]
    shifted = still(1, top_B=torch.tensor([8]))
    pixels = to_pixels(apply(images, shifted, recipe, NORMALISATION)).round()
    assert pixels[0, -6:, 10, 0].tolist() == [30, 31, 30, 29, 28, 27]


def test_an_alternating_flip_is_fair_and_turns_over_each_epoch():
    recipe = replace(BATCHED, flip="alternating")
    first, second, third = (draws_of(recipe, epoch=epoch).flip_B for epoch in range(3))
    assert abs(first.float().mean() - 0.5) < 4 * 0.5 / COUNT**0.5
    assert (first != second).all() and torch.equal(first, third)
    other = first_flip(torch.arange(COUNT), seed=1).bool()
    assert abs((first == other).float().mean() - 0.5) < 4 * 0.5 / COUNT**0.5


def test_no_flip_flips_nothing():
    assert not draws_of(replace(BATCHED, flip="none")).flip_B.any()


def test_lengths_scale_with_the_image():
    draws = draws_of(replace(BATCHED, cutout_probability=1.0), size=64)
    assert draws.top_B.max() == 32
    images = torch.zeros((1, 64, 64, 3), dtype=torch.uint8)
    one = draws.take(torch.tensor([0]))
    ours = apply(images, one, replace(BATCHED, cutout_probability=1.0), NORMALISATION)
    assert (to_pixels(ours)[..., 0] > 100).sum() == 16 * 16


def test_the_albumentations_pipeline_repeats_itself_by_seed():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    one, again = (albumentations_pipeline(SEED, 32, NORMALISATION, seed=3) for _ in range(2))
    for _ in range(5):
        assert torch.equal(one(image), again(image))


def test_early_epochs_see_smaller_images_and_later_ones_whole_ones():
    assert replace(BATCHED, epochs=90, low_resolution_share=0.7).small_epochs == 63
    recipe = replace(BATCHED, epochs=5, low_resolution=24, low_resolution_share=0.5)
    ramp = torch.linspace(-1, 1, 64).expand(2, 3, 64, 64)
    assert [shrink(ramp, recipe, epoch).shape[-1] for epoch in range(5)] == [48, 48, 64, 64, 64]
    small = shrink(ramp, recipe, 0)
    assert small[0, 0, 24].diff().min() > 0 and small.mean().abs() < 1e-6


def test_the_smallest_image_is_one_that_the_network_takes():
    recipe = replace(BATCHED, low_resolution=8, low_resolution_share=1.0)
    small = shrink(torch.zeros(2, 3, 16, 16), recipe, 0)
    assert ResNet9(10).eval()(small).shape == (2, 10)


def test_a_shrunk_image_keeps_its_mean_and_loses_what_it_cannot_hold():
    recipe = replace(BATCHED, low_resolution=16, low_resolution_share=1.0)
    stripes = torch.tensor([1.0, -1.0]).repeat(16).expand(1, 3, 32, 32)
    assert shrink(stripes, recipe, 0)[..., 1:-1].abs().max() < 0.3
