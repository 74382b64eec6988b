"""What a search knows of its trials, when files of theirs are damaged or the disk was full."""

import pytest

from cifar_model.errors import InputError
from cifar_model.history import EpochRecord, write_history
from jobs.tune import TRIALS, check_final
from jobs.tune_report import Trial
from jobs.tune_trial import METRICS, epochs_of, forget_failures, has_diverged

RECORDS = [EpochRecord(epoch, 2.5, 0.25, 2.75, 0.125, 0.1, 1000, 7.25) for epoch in range(3)]
REPORTED = {**{name: getattr(RECORDS[-1], name) for name in METRICS}, "time_this_iter_s": 7.5}


def test_the_last_epoch_is_what_was_reported_where_the_record_has_lost_it(tmp_path):
    path = tmp_path / "history.csv"
    write_history(path, RECORDS)
    assert epochs_of(tmp_path, REPORTED) == RECORDS
    path.write_bytes(path.read_bytes()[:-5])
    *first, last = epochs_of(tmp_path, REPORTED)
    assert first == RECORDS[:2]
    assert (last.epoch, last.val_accuracy, last.seconds) == (2, 0.125, 7.5)
    path.unlink()
    assert [record.epoch for record in epochs_of(tmp_path, REPORTED)] == [2]
    assert epochs_of(tmp_path, {}) == []


def test_a_resumed_search_tries_again_what_did_not_diverge(tmp_path):
    for name in ("diverged", "no room"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "failed.txt").write_text(name)
    (tmp_path / "diverged" / "diverged.txt").write_text("the loss was nan")
    forget_failures(tmp_path)
    assert [path.parent.name for path in tmp_path.glob("*/failed.txt")] == ["diverged"]
    assert has_diverged(tmp_path / "diverged") and not has_diverged(tmp_path / "no room")


@pytest.fixture
def trial(tmp_path):
    """Makes a trial of three epochs; `failure` says why it failed, if it did."""

    def make(name, failure=None, diverged=False):
        (tmp_path / TRIALS / name).mkdir(parents=True)
        if diverged:
            (tmp_path / TRIALS / name / "diverged.txt").write_text("the loss was nan")
        return Trial(name, {"peak_lr": 0.1}, [] if failure else RECORDS, failure, 3)

    return make


def test_a_search_is_unfinished_while_all_that_failed_may_yet_end(tmp_path, trial):
    ended = trial("ended")
    diverged = trial("diverged", "the loss was nan", diverged=True)
    failed = trial("failed", "No space left on device")
    check_final(tmp_path, [diverged])
    check_final(tmp_path, [ended, diverged, failed])
    with pytest.raises(InputError, match=r"1 of 2 trials failed.*No space left.*with --resume"):
        check_final(tmp_path, [diverged, failed])
