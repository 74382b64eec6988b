"""Ports for what tests start."""

import socket


def free_port():
    """One of 127.0.0.1 that nobody listens at, for now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
