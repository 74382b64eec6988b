"""Evaluating a model folder: once, recountable, and never over an old report unasked."""

import csv
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from cifar_model.model_config import read_config
from cifar_model.model_folder import BUILT_IN, export_model
from cifar_model.predictor import Predictor
from cifar_model.resnet9 import ResNet9
from cifar_model.sources import list_source, load_source
from jobs import evaluate
from jobs.held_folder import held


@pytest.fixture
def untrained(picture_folder, tmp_path):
    """A model folder for the classes of `picture_folder`, which has learned nothing."""
    config = read_config(BUILT_IN)
    data = replace(config.data, source=f"folder:{picture_folder}", test_fingerprint="")
    config = replace(config, class_names=("blue", "red"), image_size=16, data=data, metrics={})
    model = tmp_path / "untrained"
    export_model(model, ResNet9(2), config, (BUILT_IN / "history.csv").read_bytes())
    return model


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error and error.count("\n") == 1
    return error


def test_the_accuracy_is_that_of_a_recount_and_of_the_model_itself(digits_model):
    report = json.loads((digits_model / "report" / "report.json").read_text())
    with (digits_model / "report" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    recount = sum(row["true"] == row["predicted"] for row in rows) / len(rows)
    test = load_source("digits").test
    exact = Predictor.load(digits_model, engine="torch")  # OpenVINO may have bfloat16
    own = (exact.logits(test.images).argmax(1) == test.labels).mean()
    assert report["accuracy"] == recount == own
    assert report["accuracy"] > 0.8
    assert [int(row["true"]) for row in rows] == test.labels.tolist()


def test_config_and_card_learn_the_test_metrics(digits_model):
    report = json.loads((digits_model / "report" / "report.json").read_text())
    assert read_config(digits_model).metrics["test_accuracy"] == report["accuracy"]
    assert f"{report['accuracy']:.2%}" in (digits_model / "README.md").read_text()


def test_a_report_elsewhere_leaves_the_model_folder_alone(digits_model, tmp_path, capsys):
    before = (digits_model / "config.json").read_bytes()
    out = tmp_path / "elsewhere"
    evaluate.main(["--model", str(digits_model), "--out", str(out)])
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    assert (digits_model / "config.json").read_bytes() == before
    with np.load(out / "misclassified.npz", allow_pickle=False) as wrong:
        assert len(wrong["index"]) == json.loads((out / "report.json").read_text())["misclassified"]


def test_an_old_report_is_kept_unless_asked(digits_model, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(digits_model, model)
    assert "add --overwrite" in refusal(capsys, "--model", model)
    evaluate.main(["--model", str(model), "--overwrite"])


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_killed_one_left_nothing_that_stays_and_no_report_is_lost(
    untrained, tmp_path, capsys, elsewhere
):
    report = tmp_path / "reports[1]" / "of me" if elsewhere else untrained / "report"
    what = ["--model", untrained, *(["--out", report] if elsewhere else [])]
    evaluate.main([str(word) for word in what])
    capsys.readouterr()
    before = {path.name for path in report.parent.iterdir()}
    # As it was killed between putting the old report aside and the new one in its place.
    aside = report.with_name(f".{report.name}.aside-0a1b2c3d")
    aside.mkdir()
    report.rename(aside.with_name(f"{aside.name}.old"))
    assert "add --overwrite" in refusal(capsys, *what)
    assert (report / "report.json").is_file()
    assert {path.name for path in report.parent.iterdir()} == before
    # After that, before the old one was gone.
    shutil.copytree(report, aside.with_name(f"{aside.name}.old"))
    evaluate.main([*(str(word) for word in what), "--overwrite"])
    assert {path.name for path in report.parent.iterdir()} == before


def test_one_killed_before_the_config_knew_is_repeated_by_the_same_command(untrained, capsys):
    before = (untrained / "config.json").read_bytes()
    evaluate.main(["--model", str(untrained)])
    after = (untrained / "config.json").read_bytes()
    (untrained / "config.json").write_bytes(before)
    evaluate.main(["--model", str(untrained)])
    capsys.readouterr()
    assert (untrained / "config.json").read_bytes() == after
    assert "add --overwrite" in refusal(capsys, "--model", untrained)


def test_two_at_a_time_do_not_write_to_one_model(untrained, capsys):
    with held(untrained):
        line = refusal(capsys, "--model", untrained)
    assert "is being worked on by another command" in line
    assert not (untrained / "report").exists()


@pytest.mark.parametrize(("out", "words"), [("", "an empty path"), ("/", "no report")])
def test_what_is_no_place_for_a_report_is_refused(untrained, capsys, out, words):
    before = (untrained / "config.json").read_bytes()
    assert words in refusal(capsys, "--model", untrained, "--out", out, "--overwrite")
    assert (untrained / "config.json").read_bytes() == before


def test_other_classes_are_named_from_the_first_that_differs(untrained, picture_folder, capsys):
    shutil.copytree(picture_folder / "red", picture_folder / "green")
    line = refusal(capsys, "--model", untrained)
    assert f"has, from class 1 on, red; folder:{picture_folder} has green, red" in line
    shutil.rmtree(picture_folder / "green")
    for name in "stuvwxyz":
        shutil.copytree(picture_folder / "red", picture_folder / name)
    line = refusal(capsys, "--model", untrained)
    assert f"from class 2 on, no more; folder:{picture_folder} has s, t, u, v, w and 3 more" in line


def test_a_damaged_history_is_said_before_the_work_is_done(untrained, capsys):
    (untrained / "history.csv").write_text("epoch,train_loss\n0,2.5\n")
    absent = ["--data", "folder:/nowhere"]  # nothing else is wrong with the model
    line = refusal(capsys, "--model", untrained, *absent)
    assert "history.csv can't be used: line 1 is 'epoch,train_loss'" in line
    (untrained / "history.csv").unlink()
    assert "no folder at /nowhere" in refusal(capsys, "--model", untrained, *absent)


def test_only_a_report_is_overwritten(digits_model, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert "no report" in refusal(capsys, "--model", digits_model, "--out", tmp_path, "--overwrite")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_other_classes_are_refused(digits_model, picture_folder, tmp_path, capsys):
    line = refusal(
        capsys, "--model", digits_model, "--data", f"folder:{picture_folder}",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert "blue, red" in line and not (tmp_path / "out").exists()


def test_other_test_images_than_those_set_aside_are_refused_but_for_a_report_apart(
    digits_model, tmp_path, capsys
):
    model = tmp_path / "model"
    shutil.copytree(digits_model, model, ignore=shutil.ignore_patterns("report"))
    config = json.loads((model / "config.json").read_text())
    assert config["data"]["test_fingerprint"] == load_source("digits").test.fingerprint()
    config["data"]["test_fingerprint"] = "0" * 64
    (model / "config.json").write_text(json.dumps(config))
    assert "with --out DIR" in refusal(capsys, "--model", model)
    evaluate.main(["--model", str(model), "--out", str(tmp_path / "apart")])
    assert not (model / "report").exists()


def test_the_test_images_of_a_streamed_run_are_told_by_their_files(
    untrained, picture_folder, capsys
):
    path = untrained / "config.json"
    config = json.loads(path.read_text())
    streamed = list_source(f"folder:{picture_folder}").test_fingerprint()
    config["data"]["test_fingerprint"] = streamed
    path.write_text(json.dumps(config))
    evaluate.main(["--model", str(untrained)])
    capsys.readouterr()
    # Without test/, one more picture draws another test set.
    shutil.copy(picture_folder / "red" / "0.png", picture_folder / "red" / "00.png")
    assert "are not those set aside" in refusal(capsys, "--model", untrained, "--overwrite")
    assert "are not those set aside" not in refusal(
        capsys, "--model", untrained, "--overwrite", "--data", "digits"
    )


def test_a_folder_that_is_no_model_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert "no config.json" in refusal(capsys, "--model", tmp_path / "empty")
    assert "no folder at" in refusal(capsys, "--model", tmp_path / "absent")
