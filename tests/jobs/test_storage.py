"""Runs on object storage, on a real S3 server on this machine."""

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from cifar_model.errors import InputError
from cifar_model.history import read_history
from cifar_model.model_folder import load_model
from jobs import evaluate, storage, train
from jobs.run_folder import begin, resume, run_folder
from jobs.train_request import reach
from tests.small_disk import small_disk

ROOT = Path(__file__).parents[2]
SMALL = ["--data", "digits", "--recipe", "digits", "--train-limit", "240"]
SMALL += ["--image-size", "16", "--epochs", "2", "--precision", "32-true"]
# Its own, for each process keeps its copy of a run by the run's URI.
BUCKET = f"runs-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def s3():
    """An S3 server with the bucket; the environment points to it."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield boto3.client("s3")
    patch.undo()
    server.stop()
    for copied in ("all/first", "evaluated/model"):
        shutil.rmtree(storage.working_copy(f"s3://{BUCKET}/{copied}").parent, ignore_errors=True)


def keys(s3, prefix):
    answer = s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    # Keys that end in a slash are empty marks of "folders".
    found = (item["Key"].removeprefix(prefix) for item in answer.get("Contents", []))
    return {name for name in found if name and not name.endswith("/")}


def shape(names):
    """Names of files with what differs from run to run left out."""
    kinds = set()
    for name in names:
        first, _, rest = name.partition("/")
        first = "checkpoint_*" if first.startswith("checkpoint_") else first
        kinds.add(f"{first}/{'events' if 'tfevents' in rest else rest}".rstrip("/"))
    return kinds


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        train.main([*SMALL, *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1
    return error


@pytest.mark.slow
def test_a_run_on_s3_leaves_what_a_local_run_leaves(s3, digits_run, tmp_path, capsys):
    command = [sys.executable, "-m", "jobs.train", *SMALL, "--workers", "1"]
    command += ["--cpus-per-worker", "1", "--name", "first", "--storage", f"s3://{BUCKET}/all"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ})
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stdout + run.stderr  # with the tests' own Ray beside its own
    assert run.stdout.splitlines()[-1] == f"s3://{BUCKET}/all/first/model"

    there = shape(keys(s3, "all/first/"))
    local = (path for path in digits_run.rglob("*") if path.is_file())
    here = shape(path.relative_to(digits_run).as_posix() for path in local)
    assert there == {name for name in here if not name.startswith("model/report")}

    storage.pull(f"s3://{BUCKET}/all/first", tmp_path / "copy")
    _, config = load_model(tmp_path / "copy" / "model")
    history = read_history(tmp_path / "copy" / "history.csv")
    assert [record.epoch for record in history] == [0, 1]
    assert config.metrics["val_loss"] == pytest.approx(history[-1].val_loss)

    on_s3 = ["--storage", f"s3://{BUCKET}/all", "--name", "first"]
    assert "has ended" in refusal(capsys, *on_s3)
    assert "nothing to resume" in refusal(capsys, *on_s3, "--resume")


def test_a_model_on_s3_is_evaluated_and_its_report_goes_there(s3, digits_model, tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(digits_model, model, ignore=shutil.ignore_patterns("report"))
    config = json.loads((model / "config.json").read_text())
    del config["metrics"]["test_accuracy"]
    (model / "config.json").write_text(json.dumps(config))
    storage.push(model, f"s3://{BUCKET}/evaluated/model")
    evaluate.main(["--model", f"s3://{BUCKET}/evaluated/model"])
    assert capsys.readouterr().out.splitlines()[-1] == f"s3://{BUCKET}/evaluated/model/report"

    storage.pull(f"s3://{BUCKET}/evaluated/model", tmp_path / "copy")
    report = json.loads((tmp_path / "copy" / "report" / "report.json").read_text())
    _, after = load_model(tmp_path / "copy")
    assert after.metrics["test_accuracy"] == report["accuracy"]
    assert f"{report['accuracy']:.2%}" in (tmp_path / "copy" / "README.md").read_text()

    for uri, words in (
        (f"s3://{BUCKET}/evaluated/model", f"s3://{BUCKET}/evaluated/model/report exists"),
        (f"s3://{BUCKET}/nowhere", "no model there"),
    ):
        with pytest.raises(SystemExit):
            evaluate.main(["--model", uri])
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1


def test_a_bucket_that_is_not_there_is_refused_in_one_line(s3, capsys):
    assert "can't be used" in refusal(capsys, "--storage", "s3://nobody/all", "--name", "x")


def test_a_storage_that_is_none_of_those_known_is_refused(capsys):
    assert "can't be used" in refusal(capsys, "--storage", "ftp://host/all", "--name", "x")


def test_a_run_without_ray_stays_on_this_machine(capsys):
    line = refusal(capsys, "--storage", f"s3://{BUCKET}/all", "--workers", "0")
    assert "expected a folder" in line


def test_what_is_pushed_comes_back_and_small_changes_too(s3, tmp_path):
    folder, copy = tmp_path / "run", tmp_path / "copy"
    (folder / "model").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "model" / "config.json").write_text("{}")
    storage.push(folder, f"s3://{BUCKET}/one")
    (folder / "run.json").write_text('{"a": 1}')
    storage.push(folder, f"s3://{BUCKET}/one")
    storage.pull(f"s3://{BUCKET}/one", copy)
    assert (copy / "run.json").read_text() == '{"a": 1}'
    assert (copy / "model" / "config.json").exists()
    storage.delete(f"s3://{BUCKET}/one/run.json")
    storage.pull(f"s3://{BUCKET}/one", copy)
    assert not (copy / "run.json").exists()


def test_uris_are_joined_before_their_question_mark():
    uri = "s3://bucket/runs?endpoint_override=localhost:9000&scheme=http"
    below = storage.join(uri, "first")
    assert below == "s3://bucket/runs/first?endpoint_override=localhost:9000&scheme=http"
    assert storage.parent(below) == uri
    assert storage.working_copy(below).name == "first"


def test_a_disk_too_full_for_a_run_is_refused_before_it_starts(tmp_path):
    with small_disk(tmp_path / "small", "8m") as small, pytest.raises(InputError, match="MiB free"):
        begin(run_folder(str(small), "first"), None, "")


def test_a_run_whose_model_was_sent_up_in_part_can_go_on(tmp_path, digits_run):
    there = tmp_path / "runs" / "first"
    shutil.copytree(digits_run, there)
    (there / "model" / "config.json").unlink()
    uri = f"file://{tmp_path / 'runs'}"
    folder = reach(uri, "first", in_process=False)
    assert not (folder / "model").exists()
    assert resume(folder)[0].recipe.name == "digits"
