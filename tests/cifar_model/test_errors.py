"""What a person is told when a command can't go on."""

import errno
import os

import pytest

from cifar_model.errors import InputError, one_line_errors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("a value\nis wrong"), "jobs.x: a value is wrong"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "No space left on device; free some"),
        (PermissionError(errno.EACCES, "denied", "a/file"), "jobs.x: a/file: denied"),
        (MemoryError(), "jobs.x: not enough memory; free some"),
    ],
)
def test_what_a_person_can_mend_is_one_line(capsys, error, words):
    with pytest.raises(SystemExit) as stop, one_line_errors("jobs.x"):
        raise error
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and words in lines[0]


def test_other_errors_keep_their_traceback():
    with pytest.raises(PermissionError), one_line_errors("jobs.x"):
        raise PermissionError(errno.EACCES, "denied")


def test_ctrl_c_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop, one_line_errors("jobs.x"):
        raise KeyboardInterrupt
    assert (stop.value.code, capsys.readouterr().err) == (130, "jobs.x: interrupted\n")
