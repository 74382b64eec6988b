"""Building and starting the application: what can't be served is refused in one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cifar_model.errors import InputError
from jobs.free_port import free_port
from serve_app.__main__ import check_port_is_free, main, share_of_gpus
from serve_app.admission import LEAST_INSIDE
from serve_app.app import DEPLOYMENTS, build, deployment_options, read_arguments
from serve_app.ours import check_kept
from serve_app.room import check_room, say_what_is_awaited

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values())
def test_a_replica_that_refuses_is_given_company(deployment):
    scaling = deployment_options(deployment)["autoscaling_config"]
    assert scaling["target_ongoing_requests"] < LEAST_INSIDE, (
        "Serve counts only those that are inside"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"modell": "x"},
        {"model": "x", "port": "1"},
        {"cores": "0"},
        {"cores": "many"},
        {"gpus": "1.5"},
        {"gpus": "-1"},
        {"gpus": "some"},
        {"gpus": None},
        {"engine": "gpu"},
    ],
)
def test_unknown_or_bad_arguments_are_refused(arguments):
    with pytest.raises(InputError, match="serve: "):
        build(arguments)


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        build({"model": str(tmp_path)})


def sized(replicas, cores, gpus=0):
    return read_arguments({"replicas": replicas, "cores": cores, "gpus": gpus})


def test_an_update_that_would_never_find_its_room_is_refused():
    """Three kinds of replicas; of 12 CPUs, 2 replicas of a core each take 6."""
    now, there = sized(2, 1), {"CPU": 12}
    for then in (now, sized(3, 1), sized(1, 4), sized(2, 2)):
        check_room(there, then, now)
    for then in (sized(4, 1), sized(5, 1), sized(1, 5)):
        with pytest.raises(InputError, match=r"the change takes .* CPUs and the server has 12"):
            check_room(there, then, now)
    with pytest.raises(InputError, match=r"takes .* GPUs and the server has 1: .* --gpus"):
        check_room({"CPU": 12, "GPU": 1}, sized(1, 1, 0.33), sized(1, 1, 0.33))


def test_a_server_that_would_never_find_its_gpus_is_refused():
    check_room({"CPU": 12, "GPU": 1}, sized(2, 1, 0.1666))
    with pytest.raises(
        InputError, match=r"the replicas take 3 GPUs and the server has 1: .* --gpus"
    ):
        check_room({"CPU": 12, "GPU": 1}, sized(1, 1, 1))


@pytest.mark.parametrize("gpus", [0, 1, 2, 8])
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_two_versions_of_all_replicas_fit_on_the_gpus(monkeypatch, gpus, replicas):
    monkeypatch.setattr("serve_app.__main__.gpu_count", lambda: gpus)
    share = share_of_gpus(replicas)
    assert read_arguments({"gpus": share}).gpus == share  # one that Ray takes
    assert (share > 0) == (gpus > 0)
    places = gpus * int(1 / share) if 0 < share < 1 else gpus / (share or 1)
    assert places >= 2 * 3 * replicas or not gpus


@pytest.mark.parametrize(
    ("resources", "awaited"),
    [
        ({"CPU": 6, "GPU": 1.5}, []),
        ({"CPU": 5, "GPU": 1.5}, ["take 6 CPUs and the cluster has 5"]),
        ({"CPU": 6}, ["take 1.5 GPUs and the cluster has 0"]),
    ],
)
def test_what_a_cluster_has_too_little_of_is_said(capsys, resources, awaited):
    say_what_is_awaited(resources, read_arguments({"replicas": 2, "gpus": 0.25}))
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(awaited)
    assert all(words in line for words, line in zip(awaited, said, strict=True))


def test_a_second_server_on_the_same_ray_is_refused_and_takes_nothing_away(served):
    import ray

    address = ray.get_runtime_context().gcs_address
    run = subprocess.run(
        [sys.executable, "-m", "serve_app", "--port", str(free_port())],
        cwd=ROOT,
        env={**os.environ, "RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run.stderr
    assert "--update" in run.stderr
    assert httpx.get(f"{served}/readyz", timeout=30).status_code == 200


def test_an_update_keeps_no_folder_that_went_along_with_another_job():
    jobs = Path("/tmp/ray/session_1/runtime_resources/working_dir_files")
    first, second = jobs / "_ray_pkg_1", jobs / "_ray_pkg_2"
    for name in ("model", "models"):
        travelled = {name: str(first / "inputs" / "mine")}
        check_kept(travelled, first)
        for here in (second, Path("/root")):
            with pytest.raises(InputError, match=f"name --{name} again"):
                check_kept(travelled, here)
    check_kept({"model": "/mnt/runs/first/model", "models": None, "replicas": 2}, second)


def test_a_port_in_use_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="choose another --port"):
            check_port_is_free("127.0.0.1", taken.getsockname()[1])


def test_the_address_of_a_job_server_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    for how in ([], ["--update"]):
        with pytest.raises(SystemExit) as stop:
            main(["--port", "8199", *how])
        (line,) = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2 and "jobs.submit serve" in line


def test_a_zero_byte_model_is_one_line_and_no_traceback(tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    run = subprocess.run(
        [sys.executable, "-m", "serve_app", "--model", str(tmp_path), "--port", str(free_port())],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "config.json can't be used" in run.stderr
