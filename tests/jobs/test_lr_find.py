"""The range test as a command, here and on Ray workers."""

import json
import signal

import pytest
from PIL import Image
from ray.train import WorkerGroupError

from cifar_model.errors import InputError
from jobs import lr_find
from jobs.held_folder import held
from jobs.ray_training import readable_failure

# At half the usual side a step takes a quarter of the time.
SMALL = ["--data", "digits", "--recipe", "digits", "--image-size", "16"]
SMALL += ["--train-limit", "320", "--precision", "32-true", "--seed", "1"]
SWEEP = ["--min-lr", "1e-3", "--max-lr", "10", "--steps", "40"]


def found(folder):
    return json.loads((folder / "lr_find.json").read_text())


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A range test in this process."""
    out = tmp_path_factory.mktemp("lr") / "here"
    lr_find.main([*SMALL, *SWEEP, "--cpus-per-worker", "1", "--out", str(out)])
    return out


def test_it_writes_points_suggestion_rule_and_a_plot(here):
    result = found(here)
    assert 1e-3 < result["suggestion"] < 10 and result["problem"] is None
    assert "95% of its fall" in result["rule"]
    assert {"lr", "loss", "smoothed_loss"} == set(result["points"][0])
    assert result["points"][0]["lr"] == pytest.approx(1e-3)
    with Image.open(here / "lr_find.png") as plot:
        assert plot.width > 400


@pytest.mark.slow
def test_two_workers_agree_on_one_suggestion_near_that_of_one(ray_cluster, here, tmp_path):
    out = tmp_path / "two"
    workers = ["--workers", "2", "--cpus-per-worker", "1"]
    on_interrupt = signal.getsignal(signal.SIGINT)
    lr_find.main([*SMALL, *SWEEP, *workers, "--out", str(out)])
    assert signal.getsignal(signal.SIGINT) is on_interrupt, "Ctrl-C after it would be swallowed"
    one, two = found(here), found(out)
    # The same batches and weights; batch norm sees half a batch on each.
    assert two["points"][0]["loss"] == pytest.approx(one["points"][0]["loss"], rel=0.05)
    assert one["suggestion"] / 3 < two["suggestion"] < 3 * one["suggestion"]
    assert {path.name for path in out.iterdir()} == {"lr_find.json", "lr_find.png"}


def test_a_sweep_without_a_minimum_suggests_nothing_but_shows_the_curve(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        low = ["--min-lr", "1e-9", "--max-lr", "1e-8", "--steps", "30"]
        lr_find.main([*SMALL, *low, "--out", str(tmp_path / "low")])
    assert stop.value.code == 2
    assert "no learning rate suggested" in capsys.readouterr().err
    assert found(tmp_path / "low")["suggestion"] is None
    assert (tmp_path / "low" / "lr_find.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--min-lr 1 --max-lr 0.1", "the first under the last"),
        ("--steps 3", "3 steps"),
        ("--workers -1", "--workers -1"),
        ("--seed -1", "--seed -1: expected 0 to 4294967295"),
        ("--recipe none", "recipe 'none'"),
    ],
)
def test_bad_values_get_one_line(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        lr_find.main(["--out", str(tmp_path / "out"), *arguments.split()])
    lines = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and len(lines) == 1 and words in lines[0]


def test_a_worker_that_failed_for_good_is_one_line():
    lost = WorkerGroupError("", {0: MemoryError("no more for a batch")})
    with (
        pytest.raises(
            InputError, match=r"range test failed: MemoryError: no more for a batch; try"
        ),
        readable_failure("range test", "try again"),
    ):
        raise lost


def test_a_result_is_not_overwritten(here, capsys):
    with pytest.raises(SystemExit):
        lr_find.main([*SMALL, "--out", str(here)])
    assert "exists; choose another --out" in capsys.readouterr().err


def test_a_folder_that_another_command_is_at_work_on_is_refused(tmp_path, capsys):
    with held(tmp_path), pytest.raises(SystemExit) as stop:
        lr_find.main([*SMALL, *SWEEP, "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "is being worked on by another command" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
