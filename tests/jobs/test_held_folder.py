"""One command at a time in a folder, and what killed ones left there cleared away."""

import fcntl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from cifar_model.errors import InputError
from jobs.held_folder import HELD, held

LEFT = ".model.aside-0a1b2c3d"


@pytest.mark.parametrize(("below", "kept"), [(False, True), (True, False)])
def test_what_lies_in_folders_below_is_cleared_only_where_they_belong_to_the_command(
    tmp_path, below, kept
):
    """Where they do not, another command may be writing there."""
    (tmp_path / "run").mkdir()
    here, other = tmp_path / LEFT, tmp_path / "run" / LEFT
    here.touch()
    other.touch()
    with held(tmp_path, below=below):
        assert not here.exists() and other.exists() == kept


def test_of_many_that_come_and_go_never_two_are_in_it(tmp_path, monkeypatch):
    """Each takes its file away when it goes, which others may have opened meanwhile."""
    flock = fcntl.flock

    def flock_later(*what):
        time.sleep(0.001)
        flock(*what)

    monkeypatch.setattr(fcntl, "flock", flock_later)
    inside, most = [], []

    def come_and_go(number):
        for _ in range(100):
            with suppress(InputError), held(tmp_path):
                inside.append(number)
                time.sleep(0.001)
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, range(8)))
    assert max(most) == 1 and len(most) > 20
    assert not (tmp_path / HELD).exists()
