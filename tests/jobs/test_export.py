"""Shipping a model: half the size, the same answers, and no claim that was not measured on it."""

import numpy as np
import pytest

from cifar_model.model_config import read_config
from cifar_model.predictor import Predictor
from cifar_model.sources import load_source
from jobs import export


def test_a_shrunk_model_answers_as_the_whole_one(digits_model, tmp_path, capsys):
    out = tmp_path / "small"
    export.main(
        ["--model", str(digits_model), "--out", str(out), "--name", "small", "--note", "Told."]
    )
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    (out / "history.csv").unlink()
    with pytest.raises(SystemExit):
        export.main(["--model", str(out), "--out", str(tmp_path / "again")])
    assert "there is no history.csv in it" in capsys.readouterr().err
    images = load_source("digits").test.images[:100]
    whole, small = (Predictor.load(f).probabilities(images) for f in (digits_model, out))
    assert np.abs(whole - small).max() < 0.01
    assert read_config(out).name == "small"
    assert "\nTold.\n" in (out / "README.md").read_text(encoding="utf-8")
    assert not any(name.startswith("test_") for name in read_config(out).metrics)


def test_nothing_is_overwritten(digits_model, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        export.main(["--model", str(digits_model), "--out", str(tmp_path)])
    assert stop.value.code == 2 and "choose another --out" in capsys.readouterr().err


def test_a_name_that_no_address_can_have_is_refused(digits_model, tmp_path, capsys):
    with pytest.raises(SystemExit):
        what = ["--model", str(digits_model), "--out", str(tmp_path / "out")]
        export.main([*what, "--name", "org/pets"])
    assert "--name 'org/pets': expected up to 100 letters" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_a_killed_one_left_is_cleared_away(digits_model, tmp_path):
    left = tmp_path / ".small.aside-0a1b2c3d"
    other = tmp_path / ".smaller.aside-0a1b2c3d"
    left.mkdir()
    other.mkdir()
    export.main(["--model", str(digits_model), "--out", str(tmp_path / "small")])
    assert not left.exists() and other.exists()
