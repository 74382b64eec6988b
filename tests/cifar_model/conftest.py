"""What tests of the learning core share."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def unheard_children() -> Iterator[None]:
    """For tests with loader processes: afterwards the end of a child is nobody's business again.

    PyTorch goes on listening for it. A later test's child then ended all tests with a segmentation
    fault: several libraries lay a stack for signals in this one process, and one takes its away.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)
