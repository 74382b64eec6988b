"""Waiting for something to become so, for tests."""

import time


def until(what, seconds):
    """Wait until `what()` is true; returns that."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)
    return found


def seconds_until(what, seconds):
    """Wait until `what()` is true; returns how long that took."""
    started = time.monotonic()
    until(what, seconds)
    return time.monotonic() - started
