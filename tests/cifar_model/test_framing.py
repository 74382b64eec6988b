"""Pictures are cropped to the centre square, and maps are put back where it was."""

import numpy as np
import pytest

from cifar_model.framing import centre_square, fit_to_square, place_map


@pytest.mark.parametrize(
    ("height", "width", "square"),
    [(40, 40, (0, 0, 40)), (40, 61, (0, 10, 40)), (100, 30, (35, 0, 30)), (1, 1, (0, 0, 1))],
)
def test_the_square_is_the_largest_centred_one(height, width, square):
    assert centre_square(height, width) == square


def test_a_square_of_the_right_size_is_untouched():
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert (fit_to_square(picture, 32) == picture).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (32, 500, 3), (700, 400, 3), (8, 8, 3)])
def test_any_picture_fits(shape):
    framed = fit_to_square(np.full(shape, 90, np.uint8), 32)
    assert framed.shape == (32, 32, 3) and (framed == 90).all()


def test_shrinking_averages_instead_of_picking_pixels():
    checkers = (np.indices((320, 320)).sum(axis=0) % 2 * 255).astype(np.uint8)
    framed = fit_to_square(np.repeat(checkers[..., None], 3, axis=2), 32)
    assert abs(framed.mean() - 127.5) < 2 and framed.std() < 3


def test_a_map_covers_the_centre_square_alone():
    placed = place_map(np.ones((32, 32), np.float32), (50, 90))
    assert placed.shape == (50, 90)
    assert (placed[:, 20:70] == 1).all()
    assert (placed[:, :20] == 0).all() and (placed[:, 70:] == 0).all()
