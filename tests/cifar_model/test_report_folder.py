"""Reading back what an evaluation wrote."""

import numpy as np
import pytest

from cifar_model.errors import InputError
from cifar_model.report_folder import read_mistakes, read_report


def test_the_report_and_its_mistakes_fit_together(digits_model):
    report, mistakes = read_report(digits_model / "report"), read_mistakes(digits_model / "report")
    wrong = report.confusion.copy()
    np.fill_diagonal(wrong, 0)
    counted = np.zeros_like(wrong)
    np.add.at(counted, (mistakes.true, mistakes.predicted), 1)
    assert (counted == wrong).all()
    assert report.accuracy == pytest.approx(1 - len(mistakes) / report.images)
    assert mistakes.images.shape == (len(mistakes), 32, 32, 3)


def test_taking_keeps_the_columns_together(digits_model):
    mistakes = read_mistakes(digits_model / "report")
    last = mistakes.take(np.array([len(mistakes) - 1]))
    assert last.index.tolist() == [mistakes.index[-1]]
    assert last.confidence.tolist() == [mistakes.confidence.min()]


def test_no_report_is_none_and_a_damaged_one_is_said(tmp_path):
    assert read_report(tmp_path) is None and read_mistakes(tmp_path) is None
    (tmp_path / "report.json").write_text("{}")
    (tmp_path / "misclassified.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match=r"report\.json.*jobs\.evaluate"):
        read_report(tmp_path)
    with pytest.raises(InputError, match=r"misclassified\.npz.*jobs\.evaluate"):
        read_mistakes(tmp_path)
