"""A search: its trials are runs like any other, and its winner can be trained."""

import csv
import json
import shutil

import pytest
from PIL import Image

from cifar_model.errors import InputError
from cifar_model.history import EpochRecord, read_history
from cifar_model.recipe import load_recipe
from jobs import train, tune
from jobs.tune_report import Trial
from jobs.tune_request import Search
from jobs.worker_layout import WorkerLayout

DATA = ["--data", "digits", "--image-size", "16", "--train-limit", "400"]
DATA += ["--precision", "32-true", "--cpus-per-worker", "1"]
THREE_EPOCHS = [EpochRecord(epoch, 2.5, 0.25, 2.75, 0.125, 0.1, 1000, 7.25) for epoch in range(3)]


def rows(report):
    with (report / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def by_trial(trials):
    return {trial["trial"]: trial for trial in trials}


@pytest.fixture(scope="module")
def report(ray_cluster, runs):
    """Three trials around the recipe's own rate; a weight decay of 1e30 can only diverge."""
    what = ["--recipe", "digits", "--trials", "3", "--epochs", "3", "--lr-band", "0.03:0.3"]
    space = ["--search", "weight_decay=0.0005,1e30", "--search", "batch_size=32,64"]
    where = f"--storage {runs} --name search".split()
    tune.main([*DATA, *what, *space, *where])
    return runs / "search" / "report"


@pytest.fixture
def own_report(report, tmp_path):
    """The report of a copy of that search, to do something to."""
    return shutil.copytree(report.parent, tmp_path / "search") / "report"


def test_every_trial_is_on_record_with_its_values_and_its_end(report):
    trials = rows(report)
    assert len(trials) == 3 and len({trial["trial"] for trial in trials}) == 3
    for trial in trials:
        assert 0.03 <= float(trial["peak_lr"]) <= 0.3
        assert trial["batch_size"] in ("32", "64")
        history = read_history(report.parent / "trials" / trial["trial"] / "history.csv")
        assert len(history) == int(trial["epochs"])
        if history:
            assert float(trial["val_accuracy"]) == history[-1].val_accuracy


def test_the_first_trial_is_the_recipe_itself(report):
    recipe, first = load_recipe("digits"), rows(report)[0]
    assert (float(first["peak_lr"]), int(first["batch_size"])) == (0.1, recipe.batch_size)
    assert float(first["weight_decay"]) == recipe.weight_decay


def test_a_trial_that_diverges_is_on_record_with_the_reason_and_the_others_go_on(report):
    by_decay = {float(trial["weight_decay"]): trial for trial in rows(report)}
    assert by_decay[1e30]["status"] == "failed"
    assert "diverged" in by_decay[1e30]["failure"]
    assert by_decay[0.0005]["status"] in ("ended", "stopped early")


def test_the_best_ran_all_epochs_and_is_the_best_of_those(report):
    best = json.loads((report / "best.json").read_text())
    ended = [trial for trial in rows(report) if trial["status"] == "ended"]
    assert best["val_accuracy"] == max(float(trial["val_accuracy"]) for trial in ended)
    for name in ("accuracy_by_lr", "learning_curves", "parallel_coordinates"):
        with Image.open(report / f"{name}.png") as plot:
            assert plot.width > 400


def test_jobs_train_gives_the_winner_the_accuracy_that_the_search_reported(report, runs):
    best = json.loads((report / "best.json").read_text())
    recipe = ["--recipe", str(report / "recipe.json")]
    train.main([*DATA, *recipe, "--workers", "0", "--storage", str(runs), "--name", "winner"])
    again = read_history(runs / "winner" / "history.csv")[-1]
    assert again.val_accuracy == pytest.approx(best["val_accuracy"], abs=0.03)


def test_how_many_trials_run_at_a_time(monkeypatch):
    recipe, alone = load_recipe("digits"), WorkerLayout(1)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert tune.share([{"CPU": 4}], alone, Search(recipe))[0] == 4
    assert tune.share([{"CPU": 4}], WorkerLayout(1, 2), Search(recipe))[0] == 2
    assert tune.share([{"CPU": 4}], alone, Search(recipe, concurrent=9))[0] == 4
    assert tune.share([{"CPU": 4}], alone, Search(recipe, trials=3))[0] == 3
    # Where GPUs decide, all cores go to what they run.
    assert tune.share([{"CPU": 16, "GPU": 1}], alone, Search(recipe)) == (1, 16, 1.0)
    assert tune.share([{"CPU": 16, "GPU": 2}], alone, Search(recipe)) == (2, 8, 1.0)
    assert tune.share([{"CPU": 16, "GPU": 2}], alone, Search(recipe, trials=1)) == (1, 16, 1.0)
    # A cluster may grow: what was asked for holds, though nothing fits yet.
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert tune.share([{}], alone, Search(recipe, concurrent=9))[0] == 9
    assert tune.share([{}], alone, Search(recipe))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--trials 0", "--trials 0: expected 1 or more"),
        ("--concurrent 0", "--concurrent 0: expected 1 or more"),
        ("--seed 4294967296", "--seed 4294967296: expected 0 to 4294967295"),
        ("--epochs 0", "epochs is 0"),
        ("--lr-band 0.3:0.03", "two finite numbers, the smaller first"),
        ("--lr-band 0.3", "expected LO:HI"),
        ("--lr never", "neither a number nor an lr_find.json"),
        ("--lr 0.1 --lr-band 0.1:0.2", "give one of them"),
        ("--lr-decades 0", "--lr-decades 0"),
        ("--search drop_out=0:0.1", "did you mean 'dropout'"),
        ("--workers 0", "trials run on Ray workers"),
        ("--storage s3://bucket/runs", "expected a folder that all workers can reach"),
        ("--resume", "say which search with --name"),
        ("--resume --name none", "no search 'none'"),
        ("--name=", "--name ''"),
        ("--lr-band 0.1:1 --lr-decades 2", "--lr-decades and --lr-band: give one of them"),
        ("--lr=", "neither a number nor an lr_find.json"),
        ("--recipe=", "an empty path"),
        ("--gpus-per-worker nan", "--gpus-per-worker nan"),
        ("--search momentum=0,0.9", "momentum is 0, expected above 0 with nesterov"),
        ("--search batch_size=2,64 --workers 2", "in batches of 2 can't be shared by 2 workers"),
        ("--train-limit 100 --workers 11", "10 validation images in batches"),
    ],
)
def test_bad_values_get_one_line_before_anything_starts(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        tune.main(["--storage", str(tmp_path), *arguments.split()])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and words in lines[0]
    assert not list(tmp_path.iterdir())


def test_a_search_that_has_ended_is_not_run_again(report, capsys):
    with pytest.raises(SystemExit):
        tune.main(["--resume", "--storage", str(report.parents[1]), "--name", "search"])
    assert "has ended" in capsys.readouterr().err


def test_one_that_was_killed_before_its_report_writes_the_same_when_resumed(report, own_report):
    shutil.rmtree(own_report)
    tune.main(["--resume", "--storage", str(own_report.parents[1]), "--name", "search"])
    assert by_trial(rows(own_report)) == by_trial(rows(report))
    assert (own_report / "best.json").read_bytes() == (report / "best.json").read_bytes()


def test_a_trial_whose_record_is_damaged_keeps_its_place(own_report):
    before = json.loads((own_report / "best.json").read_text())
    path = own_report.parent / "trials" / before["trial"] / "history.csv"
    path.write_bytes(path.read_bytes()[:-5])
    shutil.rmtree(own_report)
    tune.main(["--resume", "--storage", str(own_report.parents[1]), "--name", "search"])
    after = json.loads((own_report / "best.json").read_text())
    assert after["trial"] == before["trial"] and after["trials"] == before["trials"]
    assert after["val_accuracy"] == pytest.approx(before["val_accuracy"], abs=1e-5)


@pytest.fixture
def trial(tmp_path):
    """Makes a trial of three epochs; `failure` says why it failed, if it did."""

    def make(name, failure=None, diverged=False):
        (tmp_path / tune.TRIALS / name).mkdir(parents=True)
        if diverged:
            (tmp_path / tune.TRIALS / name / "diverged.txt").write_text("the loss was nan")
        return Trial(name, {"peak_lr": 0.1}, [] if failure else THREE_EPOCHS, failure, 3)

    return make


def test_a_search_is_unfinished_while_all_that_failed_may_yet_end(tmp_path, trial):
    ended = trial("ended")
    diverged = trial("diverged", "the loss was nan", diverged=True)
    failed = trial("failed", "No space left on device")
    tune.check_final(tmp_path, [diverged])
    tune.check_final(tmp_path, [ended, diverged, failed])
    with pytest.raises(InputError, match=r"1 of 2 trials failed.*No space left.*with --resume"):
        tune.check_final(tmp_path, [diverged, failed])
