"""Ctrl-C and SIGTERM: one line and status 130, wherever they come."""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.interruption import AGAIN_S, interruptible, layout_words

ROOT = Path(__file__).parents[2]
# Begins a command that a process of its own runs; `interrupt` does it as from outside.
BEGIN = """
import os, signal, sys, time
from contextlib import contextmanager
from jobs.interruption import interruptible

def interrupt(number=signal.SIGINT):
    os.kill(os.getpid(), number)
    time.sleep(0.2)
"""
# Python can only print what is raised in __del__.
TWICE_LOST = """
class Deaf:
    def __del__(self):
        interrupt(int(sys.argv[1]))

with interruptible("jobs.x", "--resume"):
    Deaf()
    try:
        time.sleep(20)
    except BaseException:
        pass
    time.sleep(20)
"""
# As Ray is shut down: in a generator's `finally`, where other exceptions come and are handled.
LONG_END = """
@contextmanager
def ray():
    try:
        yield
    finally:
        try:
            os.stat("nowhere")
        except OSError:
            print("ending", flush=True)
            time.sleep(float(sys.argv[1]))
            print("whole")

with interruptible("jobs.x"):
    try:
        with ray():
            interrupt()
    finally:
        print("ended")
"""
IN_THE_BACKGROUND = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
with interruptible("jobs.x"):
    interrupt()
"""


def start(script, *words):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + script, *map(str, words)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_gets_lost_comes_again_until_it_is_heard(number):
    command = start(TWICE_LOST, int(number))
    errors = command.communicate(timeout=60)[1]
    assert "Exception ignored in" in errors, "it was not lost"
    assert errors.splitlines()[-1].startswith("jobs.x: interrupted; to go on")
    assert command.returncode == 130


def test_one_that_was_heard_leaves_the_command_the_time_to_end():
    command = start(LONG_END, 3 * AGAIN_S)
    said, errors = command.communicate(timeout=60)
    assert (said.split(), command.returncode) == (["ending", "whole", "ended"], 130)
    assert errors == "jobs.x: interrupted\n"


def test_a_second_one_cuts_the_end_short():
    command = start(LONG_END, 60)
    assert command.stdout.readline() == "ending\n"
    again = time.monotonic()
    command.send_signal(signal.SIGINT)
    assert command.communicate(timeout=60) == ("ended\n", "jobs.x: interrupted\n")
    assert command.returncode == 130 and time.monotonic() - again < 10


def test_what_was_started_deaf_to_ctrl_c_stays_so():
    command = start(IN_THE_BACKGROUND)
    assert command.communicate(timeout=60) == ("", "") and command.returncode == 0
