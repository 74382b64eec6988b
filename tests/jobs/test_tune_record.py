"""A search's record that a kill cut off is replaced by the copy; nothing unreadable is copied."""

import json
import pickle
from pathlib import Path

import pytest

from jobs.tune_record import COPY, KeepCopy, mend, readable


@pytest.fixture
def experiment(tmp_path):
    """A record as Tune leaves it."""
    folder = tmp_path / "tune"
    (folder / "trial_1").mkdir(parents=True)
    (folder / "tuner.pkl").write_bytes(pickle.dumps({"a": list(range(1000))}))
    (folder / "experiment_state-2026-01-01_00-00-00.json").write_text(json.dumps({"trials": [1]}))
    (folder / "searcher-state-2026-01-01_00-00-00.pkl").write_bytes(pickle.dumps(Path("x")))
    (folder / "trial_1" / "result.json").write_text("not of the record")
    return folder


def state(experiment):
    return next(experiment.glob("experiment_state*"))


def test_every_cut_off_json_or_pickle_is_seen():
    for name, whole in (
        ("a.json", json.dumps({"x": [1, "two", None]}).encode()),
        ("a.pkl", pickle.dumps({"x": [1, "two", None, Path("three")]})),
    ):
        assert readable(name, whole)
        for length in range(len(whole)):
            assert not readable(name, whole[:length]), (name, length)


@pytest.mark.parametrize("which", ["tuner.pkl", "experiment_state*", "searcher-state*"])
def test_a_record_cut_off_in_any_file_is_replaced_by_the_copy(experiment, capsys, which):
    KeepCopy(experiment).on_step_end(1, [])
    before = {path.name: path.read_bytes() for path in experiment.iterdir() if path.is_file()}
    victim = next(experiment.glob(which))
    victim.write_bytes(victim.read_bytes()[:-1])
    assert mend(experiment)
    assert f"was cut off ({victim.name})" in capsys.readouterr().out
    after = {path.name: path.read_bytes() for path in experiment.iterdir() if path.is_file()}
    assert after == before


def test_a_whole_record_is_left_alone_though_the_copy_differs(experiment):
    KeepCopy(experiment).on_step_end(1, [])
    state(experiment).write_text(json.dumps({"trials": [1, 2]}))
    assert mend(experiment)
    assert json.loads(state(experiment).read_text()) == {"trials": [1, 2]}


def test_a_record_caught_half_written_is_not_copied(experiment):
    state(experiment).write_text('{"trials": [')
    KeepCopy(experiment).on_step_end(1, [])
    assert not experiment.with_name(COPY).exists()
    assert not mend(experiment), "nothing to go on from"


def test_a_search_killed_before_its_first_record_starts_anew(experiment):
    state(experiment).unlink()
    assert not mend(experiment)
    assert not mend(experiment.with_name("none"))
