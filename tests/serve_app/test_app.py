"""Building and starting the application: what can't be served is refused in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cifar_model.errors import InputError
from serve_app.__main__ import check_port_is_free
from serve_app.app import build

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "arguments", [{"modell": "x"}, {"model": "x", "port": "1"}, {"cores": "0"}, {"cores": "many"}]
)
def test_unknown_or_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError, match="serve: "):
        build(arguments)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        build({"model": str(tmp_path)})


def test_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="choose another --port"):
            check_port_is_free("127.0.0.1", taken.getsockname()[1])


def test_a_zero_byte_model_is_one_line_and_no_traceback(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    run = subprocess.run(
        [sys.executable, "-m", "serve_app", "--model", str(tmp_path), "--port", "8999"],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "config.json can't be used" in run.stderr
