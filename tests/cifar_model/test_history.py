"""A record that was cut, edited or lost is named, and costs a run nothing but itself."""

import pytest

from cifar_model.errors import InputError
from cifar_model.history import (
    EpochRecord,
    mend_history,
    read_history,
    readable_history,
    write_history,
)

RECORDS = [EpochRecord(epoch, 2.5, 0.25, 2.75, 0.125, 0.1, 1000, 7.25) for epoch in range(3)]


@pytest.fixture
def path(tmp_path):
    write_history(tmp_path / "history.csv", RECORDS)
    return tmp_path / "history.csv"


def test_what_is_written_is_read(path):
    assert read_history(path) == RECORDS
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_history(path) == RECORDS, "as some editors leave it"
    assert read_history(path.with_name("absent.csv")) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda whole: b"", "line 1 is ''"),
        (lambda whole: bytes(len(whole)), r"line 1 is '\\x00"),
        (lambda whole: whole.replace(b"val_loss", b"loss"), "line 1 is 'epoch,train_loss"),
        (lambda whole: whole[:-12], "line 4 is '2,2.5,0.25,2.75,0.125,0.' without a line end"),
        (lambda whole: whole[:-2], "line 4 is .*,7.2' without a line end"),
        (lambda whole: whole.replace(b"\n1,", b"\none,"), "line 3 is 'one,2.5"),
        (lambda whole: whole.replace(b"\n1,2.5,", b"\n1,"), "line 3 is '1,0.25.*expected epoch,"),
        (lambda whole: whole.replace(b"\n1,", b"\n1,0,"), "line 3 is '1,0,2.5"),
        (lambda whole: whole.replace(b"\n1,", b"\n\n1,"), "line 3 is ''"),
        (lambda whole: whole.replace(b"\n1,", b"\n\xff,"), "line 3 is "),
    ],
)
def test_the_line_that_is_no_record_is_named(path, damage, words):
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=rf"history\.csv can't be used: {words}"):
        read_history(path)


def test_a_run_goes_on_with_what_can_be_read_and_says_what_cannot(path):
    said = []
    path.write_bytes(path.read_bytes()[:-12])
    assert mend_history(path, 3, said.append) == RECORDS[:2] == read_history(path)
    assert said == [
        f"{path} has no record of epoch 2 (line 4 is '2,2.5,0.25,2.75,0.125,0.' "
        "without a line end); going on without"
    ]
    path.unlink()
    assert mend_history(path, 8, said.append) == [] == read_history(path)
    assert said[1] == f"{path} has no record of epoch 0, 1, 2, 3, 4 and 3 more; going on without"


def test_of_what_is_to_be_done_again_nothing_is_kept_or_said(path):
    said = []
    path.write_bytes(path.read_bytes()[:-12])
    assert mend_history(path, 1, said.append) == RECORDS[:1] == read_history(path)
    assert mend_history(path, 0, said.append) == [] and said == []


def test_what_can_be_read_is_there_whatever_else_is(path):
    whole = path.read_bytes()
    for damaged, left in (
        (whole, RECORDS),
        (whole[:-12], RECORDS[:2]),
        (whole.replace(b"\n1,", b"\none,"), [RECORDS[0], RECORDS[2]]),
        (b"\0" * 100, []),
    ):
        path.write_bytes(damaged)
        assert readable_history(path) == left
        assert path.read_bytes() == damaged
