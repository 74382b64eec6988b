"""Maps laid over pictures of any shape."""

import numpy as np

from cifar_model.overlay import overlay
from tests.memory import peak_bytes


def test_an_overlay_has_the_pictures_size_and_spares_what_the_map_spares():
    picture = np.full((40, 60, 3), 100, np.uint8)
    heat = np.zeros((40, 60), np.float32)
    heat[10:20, 10:20] = 1
    laid = overlay(picture, heat, opacity=0.5)
    assert laid.shape == picture.shape and laid.dtype == np.uint8
    assert (laid[25:] == 100).all() and (laid[10:20, 10:20] != 100).any()
    assert (overlay(picture, heat, opacity=0) == picture).all()


def test_a_single_row_is_laid_as_any_other_shape_is_and_takes_no_more_memory():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (1200, 1250, 3), np.uint8)
    heat = rng.random((1200, 1250), np.float32)
    row = picture.reshape(1, -1, 3), heat.reshape(1, -1)
    assert (overlay(*row)[0] == overlay(picture, heat).reshape(-1, 3)).all()
    assert peak_bytes(lambda: overlay(*row)) < 1.1 * peak_bytes(lambda: overlay(picture, heat))
