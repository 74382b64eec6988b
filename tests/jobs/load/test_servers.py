"""Servers as processes: what they take is counted, and none outlives its block."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.free_port import free_port
from jobs.load.process_tree import cpu_between, cpu_seconds, memory_mib
from jobs.load.server import serving

# A server whose child burns CPU, holds 64 MiB, and has left the process group.
SERVER = """
import http.server, subprocess, sys
burn = "x = bytearray(b'1') * 2**26\\nprint('up', flush=True)\\nwhile True: pass"
child = subprocess.Popen([sys.executable, "-c", burn], start_new_session=True, stdout=-1)
child.stdout.readline()
http.server.HTTPServer(
    ("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
).serve_forever()
"""


def running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def test_a_server_is_measured_with_its_children_and_ends_with_them(tmp_path):
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with (
        pytest.raises(KeyboardInterrupt),
        serving("burner", command, port, tmp_path, os.environ) as server,
    ):
        server.await_ready("/")
        before = cpu_seconds(server.process.pid)
        assert len(before) == 2
        while (used := cpu_between(before, cpu_seconds(server.process.pid))) < 0.2:
            time.sleep(0.05)
        assert used < 20
        assert memory_mib(before) > 64
        assert all(running(process.pid) for process in before)
        raise KeyboardInterrupt
    assert not any(running(process.pid) for process in before)


def test_a_server_that_ends_by_itself_is_reported_with_its_log(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no model here')"]
    with (
        serving("broken", command, free_port(), tmp_path, os.environ) as server,
        pytest.raises(RuntimeError, match=r"broken did not start.*\n.*no model here"),
    ):
        server.await_ready("/")


def test_what_ended_meanwhile_takes_nothing_away():
    child = subprocess.Popen([sys.executable, "-c", "sum(range(10**7)); input()"], stdin=-1)
    while not (before := cpu_seconds(child.pid)) or sum(before.values()) == 0:
        time.sleep(0.01)
    child.communicate(b"\n")
    assert cpu_between(before, cpu_seconds(child.pid)) == 0
