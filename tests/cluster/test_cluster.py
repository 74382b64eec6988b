"""Three Ray nodes on this machine: a job over HTTP trains, is evaluated and served; tokens hold."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image

from cifar_model.history import read_history
from jobs.free_port import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-tests-that-guards-nothing-else"
SMALL = ["--data", "digits", "--recipe", "digits", "--image-size", "16", "--train-limit", "240"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What a user of the cluster has set; also the nodes' environment."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "KMP_"))}
    return {
        **plain,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path_factory.mktemp("home")),
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture(scope="module")
def address(environment):
    """The job server of three nodes."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.nodes", "2"], cwd=ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as nodes:  # fmt: skip
        _, _, line = nodes.stdout.readline().strip().partition(" ")
        assert line.startswith("http://"), "the cluster did not start"
        nodes.stdin.write("2\n")
        nodes.stdin.flush()
        assert nodes.stdout.readline() == "ready\n"
        environment["RAY_ADDRESS"] = line
        yield line
        nodes.stdin.close()
        nodes.wait(60)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The folder that all nodes share."""
    return tmp_path_factory.mktemp("shared")


def submit(environment, *words):
    return subprocess.run(
        [sys.executable, "-m", "jobs.submit", *map(str, words)],
        cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def one_line(run):
    assert run.returncode != 0
    assert "Traceback" not in run.stderr and run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def test_without_the_token_with_a_wrong_one_or_at_a_wrong_address_nothing_runs(
    address, environment
):
    bare = {k: v for k, v in environment.items() if not k.startswith("RAY_AUTH")}
    assert "Authentication required" in one_line(submit(bare, "list"))
    wrong = {**environment, "RAY_AUTH_TOKEN": "wrong"}
    assert "Invalid authentication token" in one_line(submit(wrong, "list"))
    nowhere = {**environment, "RAY_ADDRESS": "http://127.0.0.1:9"}
    assert "no job server at http://127.0.0.1:9" in one_line(submit(nowhere, "list"))
    job = {"entrypoint": "echo broken in"}
    assert httpx.post(f"{address}/api/jobs/", json=job).status_code == 401
    assert submit(environment, "list").stdout == ""


def test_the_doctor_looks_where_it_is_told_to_whatever_the_environment_says(
    address, environment, storage
):
    elsewhere = {**environment, "RAY_ADDRESS": "http://127.0.0.1:9"}
    run = subprocess.run(
        [sys.executable, "-m", "cluster.doctor", "--address", address, "--storage", storage],
        cwd=ROOT, env=elsewhere, capture_output=True, text=True,
    )  # fmt: skip
    assert "ok     token: asked for, and ours is right" in run.stdout, run.stdout + run.stderr
    assert f"ok     storage {storage}: 3 node(s) write there" in run.stdout
    assert not list(storage.glob(".doctor-*"))


def test_a_job_trains_on_two_nodes_is_evaluated_and_served(address, environment, storage):
    # A worker as large as a node, so that there is one on each.
    how = ["--epochs", 2, "--workers", 2, "--cpus-per-worker", 2]
    run = submit(
        environment, "train", *SMALL, *how, "--precision", "32-true",
        "--storage", storage, "--name", "first",
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "the largest:" in run.stdout and "Epoch 1:" in run.stdout
    assert [record.epoch for record in read_history(storage / "first" / "history.csv")] == [0, 1]
    assert list((storage / "first").glob("checkpoint_*"))
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    actors = httpx.get(f"{address}/api/v0/actors?limit=1000&detail=1", headers=bearer).json()
    workers = [
        actor
        for actor in actors["data"]["result"]["result"]
        if actor["class_name"] == "RayTrainWorker"
    ]
    assert len({actor["node_id"] for actor in workers}) == 2

    model = storage / "first" / "model"
    run = submit(environment, "evaluate", "--model", model, "--out", storage / "report")
    assert run.returncode == 0, run.stdout + run.stderr
    assert json.loads((storage / "report" / "report.json").read_text())["images"] == 359

    port = free_port()
    serving = subprocess.Popen(
        [sys.executable, "-m", "jobs.submit", "serve", "--model", model, "--port", str(port)],
        cwd=ROOT, env=environment, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    def ready():
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    until(ready, 300)
    picture = io.BytesIO()
    Image.new("RGB", (40, 40), "white").save(picture, "PNG")
    answer = httpx.post(
        f"http://127.0.0.1:{port}/v1/classify", files={"file": picture.getvalue()}, timeout=60
    )
    assert answer.status_code == 200 and len(answer.json()["predictions"]) >= 1

    # Stopped, it takes its replicas along and gives the port back.
    job = next(line.split()[1] for line in serving.stdout if line.startswith("Submitted"))
    assert submit(environment, "stop", job.rstrip(":")).returncode == 0
    serving.communicate(timeout=60)
    assert serving.returncode == 130
    until(lambda: not ready(), 30)


@pytest.mark.faults
def test_a_killed_job_says_so_goes_on_with_resume_and_keeps_its_checkpoint_when_stopped(
    address, environment, storage
):
    run = [*SMALL, "--epochs", "200", "--workers", "1", "--cpus-per-worker", "1"]
    run += ["--storage", str(storage), "--name", "long"]

    def epochs():
        return len(read_history(storage / "long" / "history.csv"))

    job = submit(environment, "--detach", "train", *run).stdout.splitlines()[-1]
    until(lambda: epochs() >= 2, 300)
    [driver] = drivers(" ".join(["-m", "jobs.train", *run]))
    os.kill(driver, signal.SIGKILL)
    followed = submit(environment, "logs", job)
    assert followed.returncode == 128 + signal.SIGKILL
    assert f"job {job} was killed by signal 9" in followed.stderr

    done = epochs()
    job = submit(environment, "--detach", "train", *run, "--resume").stdout.splitlines()[-1]
    until(lambda: epochs() > done + 1, 300)
    assert "RUNNING" in submit(environment, "status", job).stdout
    assert submit(environment, "stop", job).returncode == 0
    assert "STOPPED" in submit(environment, "status", job).stdout
    assert list((storage / "long").glob("checkpoint_*/checkpoint.ckpt"))
    assert submit(environment, "logs", job).returncode == 130


def drivers(words):
    """Python processes whose command ends with these words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            if command.endswith(words) and command.startswith("python"):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found
