"""Training on Ray: every image once, the same result as without Ray, and resumable runs."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_model.dataset import limit_train, split_for_training
from cifar_model.errors import InputError
from cifar_model.history import read_history
from cifar_model.model_config import read_config
from cifar_model.predictor import Predictor
from cifar_model.recipe import load_recipe
from cifar_model.sources import load_source
from jobs import run_folder as runs
from jobs import train
from jobs.train_request import layout_of

ROOT = Path(__file__).parents[2]
SMALL = ["--data", "digits", "--recipe", "digits", "--train-limit", "240"]
SMALL += ["--image-size", "16", "--epochs", "2", "--precision", "32-true"]
FAULTS = pytest.mark.faults


def command(*arguments, **environment):
    """Run `python -m jobs.train` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "jobs.train", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def refusal(capsys, *arguments):
    """The one line that a command ends with when it refuses."""
    with pytest.raises(SystemExit) as stop:
        train.main([str(argument) for argument in arguments])
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "Traceback" not in lines[0]
    return lines[0]


def test_a_run_on_two_workers_leaves_all_it_promises(digits_run):
    names = {path.name for path in digits_run.iterdir()}
    assert {"run.json", "history.csv", "tensorboard", "model"} <= names
    assert any(name.startswith("checkpoint_") for name in names)
    assert list((digits_run / "tensorboard").glob("events.out.tfevents.*"))
    history = read_history(digits_run / "history.csv")
    assert [record.epoch for record in history] == [0, 1, 2]
    assert history[-1].train_accuracy > history[0].train_accuracy


def test_metrics_of_two_workers_are_those_of_a_recount_in_one_process(digits_run):
    """The last epoch's validation metrics, counted again from the exported model."""
    dataset = limit_train(load_source("digits"), 800, seed=0)
    val = split_for_training(dataset).val
    exact = Predictor.load(digits_run / "model", engine="torch")  # OpenVINO may have bfloat16
    logits = torch.from_numpy(exact.logits(val.images))
    labels = torch.from_numpy(val.labels)
    last = read_history(digits_run / "history.csv")[-1]
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    assert last.val_accuracy == pytest.approx(accuracy, abs=1e-5)
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert last.val_loss == pytest.approx(loss, rel=1e-3)


def test_two_workers_see_every_training_image_once_an_epoch(ray_cluster, runs, tmp_path):
    import ray.train
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def worker(config):
        import pytorch_lightning as pl
        from ray.train.lightning import RayDDPStrategy, RayLightningEnvironment, prepare_trainer

        from cifar_model.recipe import load_recipe
        from cifar_model.run_plan import RunPlan
        from cifar_model.training import Placement, build_trainer, fit

        seen = {0: [], 1: []}

        class Note(pl.Callback):
            def on_train_batch_start(self, trainer, module, batch, batch_idx):
                seen[trainer.current_epoch] += batch.indices_B.tolist()

        recipe = load_recipe("digits")
        plan = RunPlan(type(recipe)(**{**recipe.to_json(), "epochs": 2}), num_classes=10)
        placement = Placement(
            RayDDPStrategy(), [RayLightningEnvironment()], [Note()], devices="auto"
        )
        trainer = prepare_trainer(build_trainer(plan, Path(config["folder"]), placement))
        fit(plan, config["data"], trainer, threads=1)
        rank = ray.train.get_context().get_world_rank()
        np.savez(Path(config["folder"]) / f"rank{rank}.npz", *seen.values())

    # 195 images: not a multiple of the batch, and odd.
    data = split_for_training(limit_train(load_source("digits", image_size=16), 217, seed=0))
    TorchTrainer(
        worker,
        train_loop_config={"folder": str(tmp_path), "data": data},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="seen", storage_path=str(runs)),
    ).fit()
    for epoch in (0, 1):
        seen = []
        for rank in (0, 1):
            with np.load(tmp_path / f"rank{rank}.npz") as files:
                seen.append(files[f"arr_{epoch}"])
        assert abs(len(seen[0]) - len(seen[1])) <= 4
        assert sorted(np.concatenate(seen)) == list(range(195))


def test_one_ray_worker_has_the_losses_of_a_run_without_ray(ray_cluster, tmp_path, capsys):
    for workers in (0, 1):
        how = f"--workers {workers} --cpus-per-worker 1 --name w{workers} --storage {tmp_path}"
        train.main([*SMALL, *how.split()])
        assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / f"w{workers}" / "model")
    alone, on_ray = (read_history(tmp_path / name / "history.csv") for name in ("w0", "w1"))
    for one, other in zip(alone, on_ray, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-4)
        assert one.val_loss == pytest.approx(other.val_loss, rel=1e-4)


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=FAULTS), signal.SIGINT])
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=FAULTS)])
def test_a_run_that_was_killed_or_interrupted_goes_on_from_its_last_checkpoint(
    tmp_path, capsys, workers, how
):
    what = [*SMALL, "--epochs", "4", "--workers", workers, "--storage", tmp_path, "--name", "k"]
    history = tmp_path / "k" / "history.csv"
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs.train", *map(str, what)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    deadline = time.monotonic() + 240
    while len(read_history(history)) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.1)
    process.send_signal(how)
    process.wait(60)
    if how == signal.SIGINT:
        last = (tmp_path / "errors").read_text().splitlines()[-1]
        assert process.returncode == 130
        assert last.startswith("jobs.train: interrupted; to go on: python -m jobs.train --resume")
    before = read_history(history)
    assert 2 <= len(before) < 4

    assert "add --resume" in refusal(capsys, *what)
    resumed = command("--resume", "--storage", tmp_path, "--name", "k")
    assert resumed.returncode == 0, resumed.stderr
    assert f"{workers or 1} worker(s)" in resumed.stdout
    assert resumed.stdout.splitlines()[-1] == str(tmp_path / "k" / "model")
    after = read_history(history)
    assert [record.epoch for record in after] == [0, 1, 2, 3]
    # Only what came after the last checkpoint is done again.
    assert after[0] == before[0]
    assert "Training epochs 0" not in resumed.stdout


@FAULTS
def test_ctrl_c_is_heard_when_the_workers_have_ended(ray_cluster, tmp_path, monkeypatch, capsys):
    """The handler that Ray Train leaves behind would ask its controller, which has ended."""

    def export(*what):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the export went on")

    how = ["--epochs", "1", "--workers", "1", "--cpus-per-worker", "1"]
    where = ["--storage", str(tmp_path), "--name", "late"]
    with monkeypatch.context() as late, pytest.raises(SystemExit) as stop:
        late.setattr(train, "export_run", export)
        train.main([*SMALL, *how, *where])
    assert stop.value.code == 130
    assert "jobs.train: interrupted; to go on" in capsys.readouterr().err
    train.main(["--resume", *where, "--workers", "1"])
    assert Predictor.load(tmp_path / "late" / "model")


def test_the_name_of_an_ended_run_is_refused(digits_run, capsys):
    storage = ["--storage", digits_run.parent, "--name", digits_run.name]
    assert "has ended" in refusal(capsys, *SMALL, *storage)
    assert "nothing to resume" in refusal(capsys, *storage, "--resume")


def test_resuming_asks_for_what_the_run_was_begun_with(tmp_path, capsys):
    from jobs.run_folder import RunRequest, begin, run_folder

    folder = run_folder(str(tmp_path), "begun")
    request = RunRequest(
        data="digits",
        image_size=32,
        train_limit=240,
        recipe=load_recipe("digits"),
        seed=0,
        precision="auto",
        workers=0,
    )
    begin(folder, request, "0" * 64)
    base = ["--storage", tmp_path, "--name", "begun", "--resume", "--workers", "0"]
    values = json.loads((folder / "run.json").read_text())
    older = {**{k: v for k, v in values.items() if k != "workers"}, "in_process": True}
    (folder / "run.json").write_text(json.dumps(older))
    assert runs.resume(folder) == (request, "0" * 64)
    three = layout_of(train.parse([str(word) for word in base[:-2]]), replace(request, workers=3))
    assert three.workers == 3 and three.workers_given
    assert "has epochs 6, not 7" in refusal(capsys, *base, "--epochs", "7")
    assert "has data digits, not cifar10" in refusal(capsys, *base, "--data", "cifar10")
    assert "has recipe digits, not seed" in refusal(capsys, *base, "--recipe", "seed")
    assert "resume it so" in refusal(capsys, *base[:-1], "1")
    assert "is not what the run was begun on" in refusal(capsys, *base)


def test_where_others_files_are_no_run_begins_and_none_is_touched(tmp_path, capsys):
    (tmp_path / "notes").write_text("a file")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / ".env.template").write_text("hidden")
    for name, words in (("notes", "is a file; choose another"), ("work", "choose another --name")):
        assert words in refusal(capsys, *SMALL, "--storage", tmp_path, "--name", name)
    assert (tmp_path / "work" / ".env.template").read_text() == "hidden"


def test_a_storage_without_locks_is_trained_on_all_the_same(tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    where = ["--storage", str(tmp_path), "--name", "nfs", "--workers", "0"]
    train.main([*SMALL, "--epochs", "1", *where])
    assert (tmp_path / "nfs" / "model" / "config.json").is_file()


@pytest.mark.parametrize("lost", ["the last line", "the file"])
def test_a_run_that_has_lost_its_record_is_exported_with_what_is_left(tmp_path, capsys, lost):
    where = ["--storage", str(tmp_path), "--name", "lost", "--workers", "0"]
    train.main([*SMALL, *where])
    folder = tmp_path / "lost"
    metrics = read_config(folder / "model").metrics
    assert set(metrics) > {"val_accuracy", "train_seconds"}
    shutil.rmtree(folder / "model")
    records = read_history(folder / "history.csv")
    if lost == "the file":
        (folder / "history.csv").unlink()
    else:
        whole = (folder / "history.csv").read_bytes()
        (folder / "history.csv").write_bytes(whole[:-5])
    train.main(["--resume", *where])
    assert "has no record of epoch " in capsys.readouterr().out
    assert read_config(folder / "model").metrics == {}
    left = [] if lost == "the file" else records[:1]
    assert read_history(folder / "model" / "history.csv") == left


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("null", "can't be used"),
        ('"a run"', "can't be used"),
        ({"image_size": None}, "image_size is None, expected of type int"),
        ({"data": None}, "data is None, expected of type str"),
        ({"stream": 1}, "stream is 1, expected of type bool"),
    ],
)
def test_a_damaged_record_of_what_was_asked_for_is_one_line(tmp_path, capsys, written, words):
    request = runs.RunRequest("digits", 16, None, load_recipe("digits"), 0, "auto", 0)
    runs.begin(tmp_path / "run", request, "0" * 64)
    path = tmp_path / "run" / "run.json"
    if isinstance(written, dict):
        written = json.dumps({**json.loads(path.read_text()), **written})
    path.write_text(written)
    what = ["--resume", "--storage", tmp_path, "--name", "run", "--workers", "0"]
    assert words in refusal(capsys, *what)


def test_a_run_that_another_command_is_at_work_on_is_refused(tmp_path, capsys):
    what = [*SMALL, "--epochs", "1", "--workers", "0", "--storage", tmp_path, "--name", "busy"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.train", *map(str, what)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    while not (tmp_path / "busy" / ".held").exists():
        assert process.poll() is None
        time.sleep(0.01)
    assert "being worked on by another command" in refusal(capsys, *what, "--resume")
    assert process.wait(120) == 0
    assert not (tmp_path / "busy" / ".held").exists()
    assert "has ended" in refusal(capsys, *what, "--resume")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--name", "../up"], "--name '../up'"),
        (["--workers", "-1"], "--workers -1"),
        (["--cpus-per-worker", "0"], "--cpus-per-worker 0"),
        (["--epochs", "0"], "epochs is 0"),
        (["--recipe", "sead"], "not one of"),
        (["--data", "cifar11"], "expected cifar10"),
        (["--data", "folder:/nowhere"], "no folder at /nowhere"),
        (["--data", "folder:~nobody-here/x"], "give the whole path"),
        (["--data", "/usr"], "did you mean folder:/usr?"),
        (["--storage", "x" * 300, "--name", "a"], "File name too long"),
        (["--train-limit", "3"], "--train-limit 3"),
        (["--image-size", "33"], "multiple of 8"),
        (["--resume"], "say which run with --name"),
        (["--resume", "--name", "absent"], "no run 'absent'"),
        (["--min-workers", "3"], "--min-workers 3"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--batch-size", "-4", "--recipe", "fast"], "batch_size is -4"),
        (["--name", ""], "--name ''"),
        (["--storage", "", "--name", "a"], "an empty path"),
        (["--gpus-per-worker", "nan"], "--gpus-per-worker nan"),
        (["--seed", "-1"], "--seed -1"),
        (["--train-limit", "20", "--workers", "12"], "can't be shared by 12 workers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys, arguments, words):
    storage = [] if "--storage" in arguments else ["--storage", tmp_path]
    assert words in refusal(capsys, *storage, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_too_few_pictures_to_look_at_are_refused_before_the_name_is_taken(
    picture_folder, tmp_path, capsys
):
    for name in ("red", "blue"):
        for picture, part in (("0.png", "train"), ("1.png", "test")):
            folder = picture_folder / part / name
            folder.mkdir(parents=True)
            (picture_folder / name / picture).rename(folder / picture)
    what = ["--data", f"folder:{picture_folder}", "--image-size", "16", "--workers", "0"]
    line = refusal(capsys, *what, "--storage", tmp_path / "runs", "--name", "few")
    assert "0 validation images" in line and not (tmp_path / "runs").exists()


def test_more_workers_than_the_machine_has_cores_are_refused(ray_cluster, tmp_path, capsys):
    line = refusal(capsys, *SMALL, "--workers", "16", "--storage", tmp_path)
    assert "this machine has 8" in line


def test_help_gives_units_and_defaults():
    shown = " ".join(command("--help").stdout.split())
    for words in ("default: 2", "default: digits", "side in pixels", "passes over"):
        assert words in shown


def test_of_commands_that_begin_one_name_at_once_one_does(tmp_path):
    together = threading.Barrier(8)

    def begin(seed):
        request = runs.RunRequest("digits", 16, None, load_recipe("digits"), seed, "auto", 0)
        together.wait()
        try:
            runs.begin(tmp_path / "run", request, "0" * 64)
        except InputError:
            return None
        return seed

    with ThreadPoolExecutor(8) as pool:
        (begun,) = [seed for seed in pool.map(begin, range(8)) if seed is not None]
    assert runs.resume(tmp_path / "run")[0].seed == begun
