"""The confusion matrix of a report as a table, where it is one that can be looked through."""

import numpy as np

from cifar_model.report_folder import Report
from serve_app.confusion_table import MOST_CLASSES, confusion_html


def table(classes):
    names = tuple(f"<{i}>" for i in range(classes))
    confusion = np.eye(classes, dtype=np.int64) * 3
    confusion[1, 0] = 2
    return confusion_html(Report("made", 1, 1.0, 0.0, names, (1.0,) * classes, confusion))


def test_a_wrong_cell_says_what_it_counts():
    assert table(2).count("<button") == 1
    assert "<button data-true='1' data-predicted='0' aria-label='2 of &lt;1&gt;" in table(2)


def test_a_page_is_not_filled_with_the_cells_of_very_many_classes():
    assert len(table(MOST_CLASSES)) < 2**20
    assert "1,000 classes are too many for a table" in table(1000) and len(table(1000)) < 1000
