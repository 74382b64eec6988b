"""A RAY_ADDRESS that no command can connect to is refused in a line, before a run begins."""

import socket

import pytest

from jobs import lr_find, train, tune


@pytest.fixture
def silent_port():
    """A port on which nobody listens, for as long as the test runs."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8265", "is a job server, which takes jobs: python -m jobs.submit"),
        ("127.0.0.1:{port}", "nothing answers there"),
        ("ray://127.0.0.1:{port}", "nothing answers there"),
        ("127.0.0.1:70000", "nothing answers there"),
    ],
)
@pytest.mark.parametrize(
    ("command", "place"), [(train, "--storage"), (tune, "--storage"), (lr_find, "--out")]
)
def test_a_wrong_address_is_refused_in_a_line(
    monkeypatch, capsys, tmp_path, silent_port, command, place, address, words
):
    address = address.format(port=silent_port)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SystemExit) as stop:
        command.main(["--workers", "1", place, str(tmp_path / "runs")])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert address in error and words in error
    assert not list(tmp_path.iterdir())
