"""Figures stay of a size that can be drawn and seen, whatever they show."""

import numpy as np
import pytest
from PIL import Image

from cifar_model.plots import (
    DPI,
    MOST_INCHES,
    READABLE_CLASSES,
    confusion_matrix,
    misclassified_grid,
)


@pytest.mark.parametrize("classes", [2, 30, READABLE_CLASSES + 1])
def test_a_confusion_matrix_of_many_classes_is_no_larger_than_a_screen_or_two(tmp_path, classes):
    path = tmp_path / "confusion_matrix.png"
    counts = np.eye(classes, dtype=np.int64) * 9
    counts[0, 1] = 3
    confusion_matrix(path, counts, ["a name of some length"] * classes)
    with Image.open(path) as image:
        assert max(image.size) <= MOST_INCHES * DPI
        assert min(image.size) >= 5 * DPI
        assert len(image.convert("L").getcolors(256)) > 10


def test_long_names_leave_room_for_the_matrix(tmp_path, recwarn):
    names = [letter * 100 for letter in "ABCDEFGHIJ"]
    confusion_matrix(tmp_path / "plot.png", np.eye(10, dtype=np.int64), names)
    assert not [warning for warning in recwarn if "constrained_layout" in str(warning.message)]


def test_dollars_in_a_name_are_dollars(tmp_path):
    """As formulas these would not be drawn at all."""
    path, names = tmp_path / "plot.png", ["$_$", r"$\none$ of it"]
    confusion_matrix(path, np.eye(2, dtype=np.int64), names)
    images = np.zeros((2, 16, 16, 3), np.uint8)
    misclassified_grid(path, images, names, names[::-1], np.ones(2, np.float32))
    assert path.exists()
