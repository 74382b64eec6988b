"""The serving benchmark: all of it for real on a small model, and its arithmetic."""

import json
import os
import shutil
from importlib.util import find_spec

import pytest

from jobs import bench
from jobs.load.batch_sizes import Passes, parse_passes
from jobs.load.process_tree import cpu_seconds
from jobs.serve_figures import Turn, figures_of, table

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
FULL_LOAD = {
    "raw_batch1", "raw_batch32", "serve_c1", "serve_c8", "serve_c32", "serve_c128",
    "serve_batch32", "fastapi", "fastapi_prepared", "litserve", "explain", "gradcam_package",
    "client_noop",
}  # fmt: skip


@pytest.mark.long
@needs_wrk
def test_everything_is_measured_and_nothing_is_left_running(
    digits_model, tmp_path, capsys, monkeypatch
):
    for name in [name for name in os.environ if name.startswith("RAY_SERVE_")]:
        monkeypatch.delenv(name)  # of the suite's own Ray
    before = set(cpu_seconds(os.getpid()))
    path = tmp_path / "bench.json"
    what = f"serve --data digits --model {digits_model} --rounds 1 --seconds 1 --json {path}"
    bench.main(what.split())
    assert not {process.pid for process in set(cpu_seconds(os.getpid())) - before}

    figures = json.loads(path.read_text())
    left_out = set() if find_spec("litserve") else {"litserve"}
    rows = figures["rows"]
    assert {key for key in rows if "_at_" not in key} == FULL_LOAD - left_out
    assert {key for key in rows if key.startswith("serve_c32_at_")} == {
        "serve_c32_at_50%", "serve_c32_at_80%", "serve_c32_at_95%",
    }  # fmt: skip
    assert all(row["images_per_second"] > 0 and row["memory_mib"] > 10 for row in rows.values())
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows.values())
    assert figures["raw_img_s"] == max(figures["raw_batch1_img_s"], figures["raw_batch32_img_s"])
    assert set(figures["rivals_processes"]) == {"eager", "prepared", "litserve"} - left_out
    assert 1 <= rows["serve_c32"]["batch_size"] <= 32
    assert rows["serve_c1"]["batch_size"] == pytest.approx(1, abs=0.1)
    assert rows["serve_batch32"]["batch_size"] > 16
    # Beyond these our server may refuse some on a slow machine, by design.
    assert not any(rows[key]["errors"] for key in ("serve_c1", "serve_c8", "serve_c32", "explain"))
    shown = capsys.readouterr().out
    assert "ours, 32 pictures a request" in shown and "wanted 0.75 or more" in shown


def turn(rate, p50=10.0, p99=20.0, errors=0):
    return Turn(rate, p50, p99, errors, 5.0, 100.0)


def test_figures_are_medians_and_their_ratios():
    turns = {key: [turn(100.0)] for key in FULL_LOAD - {"litserve"}}
    turns["raw_batch32"] = [turn(500.0), turn(900.0), turn(400.0)]
    turns["raw_batch1"] = [turn(200.0, p50=5.0)]
    turns["serve_c32"] = [turn(350.0, errors=1), turn(300.0), turn(400.0, errors=2)]
    turns["serve_c8"] = [turn(300.0, p99=30.0), turn(300.0, p99=90.0), turn(300.0, p99=40.0)]
    turns["fastapi"] = [turn(140.0, errors=7)]
    figures = figures_of(turns, {"serve_c32": [20.0, 30.0]}, {"ours": 0.05}, {"eager": 2})
    assert figures["raw_img_s"] == 500 and figures["serve_single_img_s"] == 350
    assert figures["serve_single_over_raw"] == 0.7
    assert figures["serve_over_fastapi"] == 2.5
    assert figures["p99_c8_over_batch1_latency"] == 8
    assert figures["errors"] == 3 and figures["rivals_errors"] == 7
    assert figures["rows"]["serve_c32"]["images_per_second_range"] == [300, 400]
    assert figures["rows"]["serve_c32"]["batch_size"] == 25
    assert "litserve_img_s" not in figures and "serve_over_litserve" not in figures
    shown = table(figures)
    lines = {line[:40].strip(): line for line in shown.splitlines()}
    assert lines["ours over bare model"].endswith("0.70   wanted 0.75 or more: missed")
    assert lines["ours over FastAPI"].endswith("2.50   wanted 2 or more: reached")
    assert lines["p99 at 8 connections over a bare pass"].endswith("wanted under 10: reached")


def test_batches_are_counted_over_all_replicas_and_models():
    page = """# HELP ray_serve_app_batch_size Pictures in a forward pass
# TYPE ray_serve_app_batch_size histogram
ray_serve_app_batch_size_bucket{le="32.0",model="a"} 3.0
ray_serve_app_batch_size_sum{deployment="Classifier",model="a"} 64.0
ray_serve_app_batch_size_count{deployment="Classifier",model="a"} 3.0
ray_serve_app_batch_size_sum{deployment="Explainer",model="a {b}"} 6.0
ray_serve_app_batch_size_count{deployment="Explainer",model="a {b}"} 4.0
ray_serve_app_batch_size_count_of_something_else 9.0
"""
    assert parse_passes(page) == Passes(70, 7)
    assert parse_passes("") == Passes(0, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--rounds 0", "--rounds 0"),
        ("--seconds 0", "--seconds 0"),
        pytest.param("--data x", "--data 'x'", marks=needs_wrk),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        bench.main(["serve", *arguments.split()])
    assert stop.value.code == 2 and words in capsys.readouterr().err
