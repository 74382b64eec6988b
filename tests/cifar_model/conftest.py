"""What tests of the learning core share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def unheard_children() -> Iterator[None]:
    """For tests with loader processes: afterwards the end of a child is nobody's business again.

    PyTorch goes on listening for it. The end of a later test's child then ended all tests with a
    segmentation fault: in this one process, where several libraries lay a stack for signals, the
    kernel found none to call the listener on.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)
