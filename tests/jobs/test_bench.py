"""The benchmark measures every variant for real; how fast they are is not a test's business."""

import json

import pytest
import torch

from cifar_model.cores import usable_cores
from cifar_model.resnet9 import ResNet9
from jobs import bench
from jobs.bench_train import MULTIPLY_ADDS


@pytest.mark.long
def test_training_is_measured_with_and_without_ray(ray_cluster, tmp_path, capsys):
    path = tmp_path / "bench.json"
    bench.main(f"train --data digits --rounds 1 --steps 1 --batch-size 64 --json {path}".split())
    figures = json.loads(path.read_text())
    # Two workers don't share the only GPU.
    two = {"ours_two_workers_img_s", "two_workers_over_one"}
    assert set(figures) | two == {
        "seed_way_img_s", "ray_seed_way_img_s", "ours_img_s", "ours_two_workers_img_s",
        "ours_without_ray_img_s", "ours_over_seed_way", "two_workers_over_one",
        "matmul_peak_gflops", "share_of_peak", "ray_epoch_overhead", "ray_epoch_overhead_on_ours",
        "ray_startup_s",
    }  # fmt: skip
    assert all(value > 0 for name, value in figures.items() if not name.startswith("ray_e"))
    assert figures["ours_over_seed_way"] == pytest.approx(
        figures["ours_img_s"] / figures["seed_way_img_s"]
    )
    shown = capsys.readouterr().out
    assert "(c) ours, 1 worker" in shown and "matmul peak" in shown
    apart = torch.cuda.device_count() == 1
    assert ("(d) ours, 2 workers" in shown) == (two <= set(figures)) == (not apart)


def test_engines_are_measured_and_hold_the_reference_accuracy(digits_model, tmp_path, capsys):
    path = tmp_path / "bench.json"
    what = f"engines --data digits --model {digits_model} --rounds 1 --seconds 1 --json {path}"
    bench.main(what.split())
    figures = json.loads(path.read_text())
    speeds = {
        f"{name}_batch{n}_img_s" for name in ("torch", "openvino", "int8") for n in (1, 8, 32)
    }
    assert speeds < set(figures) and all(figures[speed] > 0 for speed in speeds)
    assert figures["openvino_accuracy"] == pytest.approx(figures["torch_accuracy"], abs=0.001)
    assert figures["int8_accuracy"] == pytest.approx(figures["torch_accuracy"], abs=0.003)
    assert figures["torch_logit_difference"] == 0
    assert "batch 32" in capsys.readouterr().out


def test_reading_a_stream_is_measured_beside_the_decoder_alone(
    ray_cluster, picture_parquet, tmp_path, capsys
):
    path = tmp_path / "bench.json"
    data = f"parquet:{picture_parquet}"
    bench.main(f"stream --data {data} --image-size 16 --batch-size 8 --json {path}".split())
    figures = json.loads(path.read_text())
    assert figures["images"] == 40
    assert figures["decoded_mib"] == 40 * 16 * 16 * 3 / 2**20
    files = sum(file.stat().st_size for file in picture_parquet.glob("train-*"))
    assert figures["stored_mib"] == files / 2**20
    assert figures["share_of_decoding"] == pytest.approx(
        figures["epoch_img_s"] / figures["decode_one_core_img_s"] / usable_cores()
    )
    assert figures["first_batch_s"] < 40 / figures["epoch_img_s"]
    assert min(figures["measuring_mib"], figures["epoch_mib"]) > 100
    assert "an epoch at" in capsys.readouterr().out


def test_the_work_of_an_image_is_counted_from_the_network():
    counted = 0

    def count(module, _inputs, output):
        nonlocal counted
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            counted += output.numel() * module.weight[0].numel()

    network = ResNet9(10).eval()
    for module in network.modules():
        module.register_forward_hook(count)
    network(torch.zeros(1, 3, 32, 32))
    assert counted == MULTIPLY_ADDS


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("train --rounds 0", "--rounds 0"),
        ("train --cores 3", "an even number"),
        ("train --batch-size 0", "--batch-size 0"),
        ("train --data x", "--data 'x'"),
        ("stream --data digits", "can't be streamed"),
        ("stream --batch-size 1", "--batch-size 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(capsys, arguments, words):
    with pytest.raises(SystemExit) as stop:
        bench.main(arguments.split())
    assert stop.value.code == 2 and words in capsys.readouterr().err
