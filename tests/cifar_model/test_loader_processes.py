"""Processes that augment beside a GPU."""

import shutil
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from cifar_model.dataset import split_for_training
from cifar_model.loader_processes import MOST, leave_signals_to_the_run, loader_processes
from cifar_model.recipe import load_recipe
from cifar_model.sources import load_source

BATCH_BYTES = 4 * 3 * 16 * 16 * 512


@pytest.fixture(scope="module")
def data():
    return split_for_training(load_source("digits", image_size=16))


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One with a GPU, many cores and much shared memory."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    machine = SimpleNamespace(free=2**40)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: machine)
    return machine


def test_there_are_as_many_as_a_run_needs_and_the_machine_holds(data, machine, monkeypatch):
    recipe = load_recipe("seed")
    assert loader_processes(data, recipe) == MOST
    machine.free = 3 * 2 * BATCH_BYTES
    assert loader_processes(data, recipe) == 3
    machine.free = BATCH_BYTES
    assert loader_processes(data, recipe) == 0
    machine.free = 2**40
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert loader_processes(data, recipe) == 2


def test_there_are_none_where_they_would_not_help(data, monkeypatch):
    recipe = load_recipe("seed")
    assert loader_processes(data, replace(recipe, augmentation="batched")) == 0
    streamed = SimpleNamespace(train=object(), image_size=16)
    assert loader_processes(streamed, recipe) == 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert loader_processes(data, recipe) == 0


@pytest.mark.usefixtures("unheard_children")
def test_an_interruption_is_left_to_the_run_that_ends_them(monkeypatch):
    monkeypatch.undo()
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    numbers = (*before, signal.SIGALRM)
    try:
        for number in before:
            signal.signal(number, lambda *_: None)
        loader = DataLoader(
            range(1),
            num_workers=1,
            collate_fn=lambda _: [signal.getsignal(number) for number in numbers],
            worker_init_fn=leave_signals_to_the_run,
        )
        assert list(loader) == [[signal.SIG_IGN, signal.SIG_DFL, signal.SIG_DFL]]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
