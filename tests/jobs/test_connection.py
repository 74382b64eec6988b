"""A RAY_ADDRESS that no command can connect to is refused in a line, before a run begins."""

import socket

import pytest

from jobs import lr_find, train, tune


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:8265", "is a job server, which takes jobs: python -m jobs.submit"),
        (f"127.0.0.1:{free_port()}", "nothing answers there"),
        (f"ray://127.0.0.1:{free_port()}", "nothing answers there"),
        ("127.0.0.1:70000", "nothing answers there"),
    ],
)
@pytest.mark.parametrize(
    ("command", "place"), [(train, "--storage"), (tune, "--storage"), (lr_find, "--out")]
)
def test_a_wrong_address_is_refused_in_a_line(
    monkeypatch, capsys, tmp_path, command, place, address, words
):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(SystemExit) as stop:
        command.main(["--workers", "1", place, str(tmp_path / "runs")])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    assert address in error and words in error
    assert not list(tmp_path.iterdir())
