"""Pictures as they are shown."""

import numpy as np

from serve_app.answers import LONGEST, shrunk

RNG = np.random.default_rng(0)


def test_a_picture_is_shrunk_in_its_proportions_and_no_further_than_need_be():
    picture = RNG.integers(0, 256, (60, 120, 3), np.uint8)
    assert shrunk(picture, 60 * 120) is picture
    halves = picture.reshape(30, 2, 60, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk(picture, 30 * 60) - halves).max() <= 1


def test_a_picture_of_two_rows_is_no_longer_than_can_be_shown():
    shown = shrunk(np.full((2, 1_000_000, 3), 99, np.uint8), 10_000)
    assert shown.shape[:2] == (1, LONGEST) and (shown == 99).all()
