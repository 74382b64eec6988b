"""What a search leaves when nothing in it came to its end."""

import csv

import pytest

from cifar_model.errors import InputError
from cifar_model.recipe import load_recipe
from jobs.tune_report import Trial, write_report


def test_a_search_whose_trials_all_failed_leaves_their_reasons(tmp_path):
    trials = [
        Trial(id=name, values={"peak_lr": 0.1}, history=[], failure=why, epochs=3)
        for name, why in (("a", "the loss is nan"), ("b", "out of memory"))
    ]
    folder = tmp_path / "report"
    with pytest.raises(InputError) as error:
        write_report(folder, trials, load_recipe("digits"), None)
    assert str(folder / "trials.csv") in str(error.value)
    assert "out of memory; the loss is nan" in str(error.value)
    with (folder / "trials.csv").open() as file:
        rows = [(row["trial"], row["status"], row["failure"]) for row in csv.DictReader(file)]
    assert rows == [("a", "failed", "the loss is nan"), ("b", "failed", "out of memory")]
    assert [path.name for path in folder.iterdir()] == ["trials.csv"]
