"""Starting a head node here: what is refused before Ray starts."""

import socket

import pytest

from cluster import local


@pytest.mark.parametrize("option", ["--port", "--dashboard-port"])
def test_a_port_that_is_taken_is_refused(monkeypatch, tmp_path, option):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    free = {"--port": local.free_port(), "--dashboard-port": local.free_port()}
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ports = {**free, option: other.getsockname()[1]}
        words = [str(word) for pair in ports.items() for word in pair]
        with pytest.raises(SystemExit, match=f"{option} {ports[option]}: something listens there"):
            local.main(["up", *words])
    assert not list(tmp_path.iterdir())
