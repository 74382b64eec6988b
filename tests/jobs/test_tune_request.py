"""--resume keeps what was asked for, and refuses options that ask for something else."""

import json

import pytest

from cifar_model.errors import InputError
from cifar_model.recipe import load_recipe
from jobs import tune
from jobs.tune_request import REQUEST, Search, begin, given_lr, settle

LR_FILE = "lr_find.json"


@pytest.fixture
def where(tmp_path):
    """The options that name a search of eight trials that has begun, a file of its rate beside."""
    recipe = load_recipe("digits")
    dimensions = ("dropout=0:0.3",)
    begin(tmp_path / "s", Search(recipe, trials=8, lr=0.1, dimensions=dimensions, concurrent=2))
    (tmp_path / LR_FILE).write_text(json.dumps({"suggestion": 0.1}))
    return ["--resume", "--storage", str(tmp_path), "--name", "s"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--trials 16", "trials 8, not 16"),
        ("--epochs 99", "epochs 6, not 99"),
        ("--recipe seed", "recipe digits, not seed"),
        ("--data cifar10", "data digits, not cifar10"),
        ("--lr 0.2", "lr 0.1, not 0.2"),
        ("--lr-band 0.1:1", "lr-band None, not 0.1 1"),
        ("--lr-decades 2", "lr-decades 1, not 2"),
        ("--search dropout=0:0.5", "search dropout=0:0.3, not dropout=0:0.5"),
        ("--seed 1", "seed 0, not 1"),
        ("--concurrent 3", "concurrent 2, not 3"),
    ],
)
def test_what_differs_is_refused(where, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        tune.main([*where, *arguments.split()])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and f"the search has {words};" in lines[0]


def test_the_command_that_began_it_resumes_it(where, tmp_path):
    again = f"--trials 8 --epochs 6 --recipe digits --data digits --lr {tmp_path / LR_FILE}"
    again += " --search dropout=0:0.3 --seed 0 --precision auto --image-size 32 --concurrent 2"
    bare, folder = settle(tune.parse(where))
    assert settle(tune.parse([*where, *again.split()])) == (bare, folder)
    assert (bare.trials, bare.lr, folder) == (8, 0.1, tmp_path / "s")


def test_one_that_was_killed_before_it_had_begun_begins(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    (folder / f".{REQUEST}.aside-01234567").write_text("{")
    begin(folder, Search(load_recipe("digits")))
    assert [path.name for path in folder.iterdir()] == [REQUEST]


def test_other_files_are_in_its_way(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / ".env").write_text("")
    with pytest.raises(InputError, match="is there already"):
        begin(tmp_path / "s", Search(load_recipe("digits")))


def test_data_that_have_changed_are_refused(tmp_path, picture_folder, capsys):
    data = f"folder:{picture_folder}"
    begin(tmp_path / "s", Search(load_recipe("digits"), data, fingerprint="0" * 64))
    with pytest.raises(SystemExit):
        tune.main(["--resume", "--storage", str(tmp_path), "--name", "s"])
    assert "is not what the search was begun on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("null", "can't be used"),
        ("7", "can't be used"),
        ({"image_size": None}, "image_size is None, expected of type int"),
        ({"data": 3}, "data is 3, expected of type str"),
        ({"lr_band": [0.1, "x"]}, "lr_band is"),
    ],
)
def test_a_damaged_record_of_what_was_asked_for_is_one_line(
    where, tmp_path, capsys, written, words
):
    path = tmp_path / "s" / REQUEST
    if isinstance(written, dict):
        written = json.dumps({**json.loads(path.read_text()), **written})
    path.write_text(written)
    with pytest.raises(SystemExit) as stop:
        tune.main(where)
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and words in lines[0]


@pytest.mark.parametrize("suggestion", ['"x"', "[1]", "{}"])
def test_a_file_that_suggests_no_rate_is_refused(tmp_path, monkeypatch, suggestion):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / LR_FILE).write_text('{"suggestion": 0.25}')
    assert given_lr(f"~/{LR_FILE}") == 0.25
    (tmp_path / LR_FILE).write_text(f'{{"suggestion": {suggestion}}}')
    with pytest.raises(InputError, match=r"neither a number nor an lr_find\.json"):
        given_lr(f"~/{LR_FILE}")
