"""A head node on this machine: refused where it can't be, and from its start to its end."""

import io
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
import yaml
from PIL import Image

from cluster import local
from tests.waiting import until

ROOT = Path(__file__).parents[2]


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


def test_a_node_knows_nothing_of_the_cluster_that_the_shell_names():
    shell = {"RAY_ADDRESS": "10.0.0.1:6379", "RAY_API_SERVER_ADDRESS": "http://10.0.0.1:8265"}
    environment = local.node_environment({**shell, "PATH": "/usr/bin", "RAY_AUTH_MODE": "disabled"})
    assert not shell.keys() & environment.keys()
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["PATH"] == f"{Path(sys.executable).parent}:/usr/bin"


def test_a_proxy_that_the_environment_names_is_not_asked_for_the_job_server(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{local.free_port()}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), AsksForAToken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert local.answers(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()


class AsksForAToken(BaseHTTPRequestHandler):
    """A job server that asks for its token."""

    def do_GET(self):
        self.send_error(401)

    def log_message(self, *_):
        pass


def answers(url, status, **how):
    try:
        return httpx.get(url, timeout=10, **how).status_code == status
    except httpx.TransportError:
        return False


@pytest.fixture
def environment(tmp_path):
    """Of somebody who has never used Ray."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "KMP_"))}
    home = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    return {**plain, **home, "PYTHONPATH": str(ROOT)}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_head_asks_for_its_token_serves_the_config_and_leaves_nothing(tmp_path, environment):
    port, dashboard_port, http_port = (local.free_port() for _ in range(3))
    dashboard, http = f"http://127.0.0.1:{dashboard_port}", f"http://127.0.0.1:{http_port}"

    def command(*words, **more):
        return subprocess.run(
            [sys.executable, "-m", *map(str, words)],
            cwd=ROOT, env={**environment, **more}, text=True, capture_output=True,
        )  # fmt: skip

    # Of logical cores: as many as the replicas below ask for.
    how = ["--port", port, "--dashboard-port", dashboard_port, "--cpus", 3]
    started = command("cluster.local", "up", *how)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        assert f"export RAY_ADDRESS={dashboard} RAY_AUTH_MODE=token" in started.stdout
        again = command("cluster.local", "up", *how)
        assert again.returncode == 1 and "a head node runs already" in again.stderr

        token = (tmp_path / ".ray" / "auth_token").read_text().strip()
        bearer = {"Authorization": f"Bearer {token}"}
        assert answers(f"{dashboard}/api/jobs/", 401)
        assert answers(f"{dashboard}/api/jobs/", 200, headers=bearer)

        config = yaml.safe_load((ROOT / "serve_app" / "config.yaml").read_text())
        config["http_options"]["port"] = http_port
        config["applications"][0]["deployments"][0]["autoscaling_config"]["min_replicas"] = 1
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        deployed = command(
            "ray.serve.scripts", "deploy", tmp_path / "config.yaml", "--address", dashboard,
            RAY_AUTH_MODE="token",
        )  # fmt: skip
        assert deployed.returncode == 0, deployed.stdout + deployed.stderr
        until(lambda: answers(f"{http}/readyz", 200), 180)
        picture = io.BytesIO()
        Image.new("RGB", (40, 40), "white").save(picture, "PNG")
        answer = httpx.post(f"{http}/v1/classify", files={"file": picture.getvalue()}, timeout=60)
        assert answer.status_code == 200 and answer.json()["model"] == "resnet9-cifar10"
        processes = processes_with(f"XDG_STATE_HOME={environment['XDG_STATE_HOME']}")
        assert {"raylet", "haproxy"} <= {process.name() for process in processes}
    finally:
        stopped = command("cluster.local", "down")
    assert stopped.returncode == 0, stopped.stderr
    until(lambda: not any(process.is_running() for process in processes), 30)
    assert not answers(f"{http}/readyz", 200)
    assert "no head node" in command("cluster.local", "down").stderr


def processes_with(setting):
    """Processes that have this in the environment they were started with."""
    found = []
    for process in psutil.process_iter():
        try:
            name, _, value = setting.partition("=")
            if process.environ().get(name) == value:
                found.append(process)
        except psutil.Error:
            continue
    return found
