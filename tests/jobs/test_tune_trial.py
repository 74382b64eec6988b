"""What a search knows of its trials, when files of theirs are damaged or the disk was full."""

from cifar_model.history import EpochRecord, write_history
from jobs.tune_trial import REPORTED, epochs_of, forget_failures, has_diverged

RECORDS = [EpochRecord(epoch, 2.5, 0.25, 2.75, 0.125, 0.1, 1000, 7.25) for epoch in range(3)]
LAST_REPORT = {**{name: getattr(RECORDS[-1], name) for name in REPORTED}, "time_this_iter_s": 7.5}


def test_the_last_epoch_is_what_was_reported_where_the_record_has_lost_it(tmp_path):
    path = tmp_path / "history.csv"
    write_history(path, RECORDS)
    assert epochs_of(tmp_path, LAST_REPORT) == RECORDS
    path.write_bytes(path.read_bytes()[:-5])
    *first, last = epochs_of(tmp_path, LAST_REPORT)
    assert first == RECORDS[:2]
    assert (last.epoch, last.val_accuracy, last.seconds) == (2, 0.125, 7.5)
    path.unlink()
    assert [record.epoch for record in epochs_of(tmp_path, LAST_REPORT)] == [2]
    assert epochs_of(tmp_path, {}) == []


def test_a_resumed_search_tries_again_what_did_not_diverge(tmp_path):
    for name in ("diverged", "no room"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "failed.txt").write_text(name)
    (tmp_path / "diverged" / "diverged.txt").write_text("the loss was nan")
    forget_failures(tmp_path)
    assert [path.parent.name for path in tmp_path.glob("*/failed.txt")] == ["diverged"]
    assert has_diverged(tmp_path / "diverged") and not has_diverged(tmp_path / "no room")
