"""Memory that is given back serves again, without the system's being asked."""

import os
import platform
import subprocess
import sys

import pytest

from cifar_model.kept_memory import KEPT_MEMORY, kept_memory

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own settings")

STEPS = """
import resource, sys, threading
from cifar_model.kept_memory import keep_freed_memory

def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"x") * 2**27
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def steps():
    print(*(step() for _ in range(4)))

if "keep" in sys.argv:
    keep_freed_memory()
if "thread" in sys.argv:
    thread = threading.Thread(target=steps)
    thread.start()
    thread.join()
else:
    steps()
"""


def pages_asked_for(*how, environment=()):
    """Of the system, by each of four steps that each need and give back 128 MiB."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    printed = subprocess.run(
        [sys.executable, "-c", STEPS, *how], env={**others, **dict(environment)},
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return [int(number) for number in printed.split()]


def test_of_itself_each_step_asks_for_its_memory_anew():
    assert min(pages_asked_for()) >= 64  # of 2 MiB, or more of 4 KiB


def test_what_this_process_frees_it_keeps():
    first, *others = pages_asked_for("keep")
    assert first >= 64 and max(others) < 8


@pytest.mark.parametrize("how", [(), ("thread",)])
def test_a_process_started_so_keeps_it_in_every_thread(how):
    first, *others = pages_asked_for(*how, environment=KEPT_MEMORY)
    assert first >= 64 and max(others) < 8


def test_where_the_environment_says_something_of_it_that_holds(monkeypatch):
    for name in KEPT_MEMORY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert kept_memory() == KEPT_MEMORY
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    assert kept_memory() == {}
    assert min(pages_asked_for("keep", environment={"MALLOC_ARENA_MAX": "4"})) >= 64
