"""A search goes on from files of one moment, whatever a kill has left in Tune's own folder."""

import json
import os
import pickle
from types import SimpleNamespace

import pytest

from cifar_model.errors import InputError
from jobs.tune_record import ARCHIVE, BEFORE, KeepRecord, put_back

STATE = "experiment_state-2026-01-01_00-00-00.json"
SEARCHER = "searcher-state-2026-01-01_00-00-00.pkl"


@pytest.fixture
def staging(tmp_path):
    """Where Tune writes its record, with a trial's folder beside it."""
    folder = tmp_path / "staging"
    (folder / "trial_1").mkdir(parents=True)
    (folder / STATE).write_text(json.dumps({"trials": [1]}))
    (folder / SEARCHER).write_bytes(pickle.dumps({"trials": [1]}))
    (folder / "trial_1" / "result.json").write_text("not of the record")
    return folder


@pytest.fixture
def experiment(tmp_path):
    """Where Tune copies it to."""
    folder = tmp_path / "search" / "tune"
    folder.mkdir(parents=True)
    (folder / "tuner.pkl").write_bytes(pickle.dumps("the search"))
    return folder


@pytest.fixture
def trials(staging, experiment):
    """A trial as callbacks see it."""
    return [
        SimpleNamespace(local_experiment_path=str(staging), remote_experiment_path=str(experiment))
    ]


def old(name):
    """What a file of the record is called once it has been put back."""
    return name.replace("2026-01-01", "0000-00-00")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_record_of_two_moments_becomes_that_of_one(staging, experiment, trials):
    KeepRecord().on_step_end(1, trials)
    whole = contents(experiment) | {old(n): data for n, data in contents(staging).items()}
    (experiment / STATE).write_text(json.dumps({"trials": [1]}))
    (experiment / SEARCHER).write_bytes(pickle.dumps({"trials": [1, 2]}))
    (experiment / "search_gen_state-2026-01-01_00-00-00.json").write_text("{")
    assert put_back(experiment)
    assert contents(experiment) == whole


def test_the_archive_follows_the_record(staging, experiment, trials):
    keep = KeepRecord()
    keep.on_step_end(1, trials)
    first = (experiment.parent / ARCHIVE).stat().st_mtime_ns
    keep.on_step_end(2, trials)
    assert (experiment.parent / ARCHIVE).stat().st_mtime_ns == first
    (staging / STATE).write_text(json.dumps({"trials": [1, 2]}))
    os.utime(staging / STATE, (2e9, 2e9))  # a clock too coarse to see the difference
    keep.on_step_end(3, trials)
    assert put_back(experiment)
    assert json.loads((experiment / old(STATE)).read_text()) == {"trials": [1, 2]}


def test_what_was_written_last_counts_though_the_clock_has_gone_back(staging, experiment, trials):
    """Tune starts with what was put back, and names its own files by the time."""
    KeepRecord().on_step_end(1, trials)
    for earlier, done in (("2025-06-01", [1, 2]), ("2024-06-01", [1, 2, 3])):
        assert put_back(experiment)
        for path in staging.glob("*.*"):
            path.unlink()
        for path in experiment.glob("*-0000-*"):
            (staging / path.name).write_bytes(path.read_bytes())
        for name in (STATE, SEARCHER):
            path = staging / name.replace("2026-01-01", earlier)
            path.write_text(json.dumps({"trials": done}))
            os.utime(path, (1e9, 1e9))
        KeepRecord().on_step_end(2, trials)
    assert put_back(experiment)
    assert json.loads((experiment / old(STATE)).read_text()) == {"trials": [1, 2, 3]}
    assert set(contents(experiment)) == {"tuner.pkl", old(STATE), old(SEARCHER)}


def test_without_an_archive_what_is_there_goes_and_the_next_is_archived(
    staging, experiment, trials
):
    (experiment / STATE).write_text('{"trials": [')
    KeepRecord().on_step_end(1, [])
    assert not put_back(experiment)
    assert not contents(experiment)
    (experiment / "tuner.pkl").write_bytes(pickle.dumps("the search, anew"))
    KeepRecord().on_step_end(1, trials)
    assert put_back(experiment)
    assert set(contents(experiment)) == {"tuner.pkl", old(STATE), old(SEARCHER)}


def damage(archive):
    archive.write_bytes(archive.read_bytes().replace(b"the search", b"the seatch"))


def cut_short(archive):
    archive.write_bytes(archive.read_bytes()[:-30])


def lock(archive):
    """Says of each file that it is encrypted, in the archive's directory alone."""
    whole = bytearray(archive.read_bytes())
    for at in range(len(whole) - 4):
        if whole[at : at + 4] == b"PK\1\2":
            whole[at + 8] |= 1
    archive.write_bytes(whole)


@pytest.mark.parametrize("harm", [damage, cut_short, lock])
def test_a_damaged_archive_is_passed_over_for_the_one_before(staging, experiment, trials, harm):
    keep, said = KeepRecord(), []
    keep.on_step_end(1, trials)
    (staging / STATE).write_text(json.dumps({"trials": [1, 2]}))
    keep.on_step_end(2, trials)
    harm(experiment.parent / ARCHIVE)
    assert put_back(experiment, said.append)
    assert json.loads((experiment / old(STATE)).read_text()) == {"trials": [1]}
    assert len(said) == 1 and f"Going back to {BEFORE}" in said[0]


def test_without_a_whole_one_the_search_is_refused_and_nothing_changed(experiment, trials):
    KeepRecord().on_step_end(1, trials)
    damage(experiment.parent / ARCHIVE)
    before = contents(experiment)
    with pytest.raises(InputError, match=r"is damaged .*search again under another --name"):
        put_back(experiment)
    assert contents(experiment) == before
