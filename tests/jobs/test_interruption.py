"""Ctrl-C: one line and status 130."""

import argparse

import pytest

from jobs.interruption import interruptible, layout_words


@pytest.mark.parametrize("how", [KeyboardInterrupt(), SystemExit(15), SystemExit(0)])
def test_an_interrupted_command_says_how_to_go_on(capsys, how):
    words = ["--resume", "--name", "my run"]
    with pytest.raises(SystemExit) as stop, interruptible("jobs.tune", *words):
        raise how
    assert stop.value.code == 130
    expected = "jobs.tune: interrupted; to go on: python -m jobs.tune --resume --name 'my run'\n"
    assert capsys.readouterr().err == expected


def test_one_that_can_only_begin_anew_just_ends(capsys):
    with pytest.raises(SystemExit), interruptible("jobs.lr_find"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "jobs.lr_find: interrupted\n"


def test_what_workers_get_is_given_again():
    options = argparse.Namespace(workers=8, min_workers=None, gpus_per_worker=0.5)
    words = layout_words(options, "workers", "min_workers", "gpus_per_worker")
    assert words == ["--workers", "8", "--gpus-per-worker", "0.5"]
