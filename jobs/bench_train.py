"""Training speed: the seed's way and ours, each with and without Ray, in turns in one run.

Each turn trains two epochs of a few steps; the second epoch's images/s count, over the training
steps alone. What Ray adds to an epoch is the difference in wall time, checkpoint and report
included. What it adds to the start is that difference up to the end of the first step.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from cifar_model.dataset import TrainingData, limit_train, split_for_training
from cifar_model.history import HISTORY, read_history
from cifar_model.recipe import Recipe, load_recipe
from cifar_model.run_plan import Precision, RunPlan
from cifar_model.sources import load_source
from jobs.in_process import fit_in_process
from jobs.ray_training import fit_on_ray
from jobs.run_folder import startup_seconds
from jobs.stages import Stages
from jobs.worker_layout import WorkerLayout

# Multiply-adds of one image forward, from the layer shapes at 32x32; backward costs twice that.
MULTIPLY_ADDS = 379_261_952
FLOPS_PER_IMAGE = 2 * 3 * MULTIPLY_ADDS


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    key: str  # its name among the figures
    title: str
    recipe: Recipe
    precision: Precision
    tuned_memory: bool
    workers: int  # 0: without Ray


@dataclass(frozen=True)
class Turn:
    """What one turn of a variant took."""

    images_per_second: float
    epoch_seconds: float
    startup_seconds: float


def variants(batch_size: int | None = None) -> list[Variant]:
    """The ways that are compared, at their recipes' batch sizes or all at this one."""
    seed, fast = load_recipe("seed"), load_recipe("fast")
    if batch_size is not None:
        seed, fast = (replace(recipe, batch_size=batch_size) for recipe in (seed, fast))
    return [
        Variant("seed_way_img_s", "(a) seed's way", seed, "32-true", False, 0),
        Variant("ray_seed_way_img_s", "(b) seed's way on Ray", seed, "32-true", False, 1),
        Variant("ours_img_s", "(c) ours, 1 worker", fast, "auto", True, 1),
        Variant("ours_two_workers_img_s", "(d) ours, 2 workers", fast, "auto", True, 2),
        Variant("ours_without_ray_img_s", "(e) ours without Ray", fast, "auto", True, 0),
    ]


def bench_train(
    spec: str, rounds: int, steps: int, cores: int, batch_size: int | None = None
) -> dict[str, float]:
    """Measure, print a table, and return the figures.

    On a machine with one GPU without (d): two workers of a run can't share it.
    """
    import torch

    stages = Stages(time.time())
    stages.say(f"Reading {spec}")
    dataset = load_source(spec)
    compared = variants(batch_size)
    if torch.cuda.device_count() == 1:
        compared = [variant for variant in compared if variant.workers < 2]
    batch = max(variant.recipe.batch_size for variant in compared)
    # A ninth more: a tenth of it is set aside for validation.
    limit = min(len(dataset.train), round(batch * steps / 0.9))
    data = split_for_training(limit_train(dataset, limit, seed=0))
    classes = len(dataset.class_names)
    peak = matmul_peak(cores)
    turns: dict[str, list[Turn]] = {variant.key: [] for variant in compared}
    for number in range(rounds):
        for variant in compared:
            stages.say(f"Round {number + 1} of {rounds}: {variant.title}")
            turns[variant.key].append(take_turn(variant, data, classes, cores))
    figures = summarise(turns, peak)
    print(table(turns, figures))
    return figures


def take_turn(variant: Variant, data: TrainingData, classes: int, cores: int) -> Turn:
    """Train two short epochs one way."""
    # Every image at full size, whatever the recipe does early on.
    recipe = replace(variant.recipe, epochs=2, low_resolution_share=0.0)
    plan = RunPlan(recipe, classes, 0, variant.precision, tuned_memory=variant.tuned_memory)
    with tempfile.TemporaryDirectory(prefix="bench-") as storage:
        # Ray keeps files by a run's name, so each turn needs one of its own.
        folder = Path(storage) / Path(storage).name
        folder.mkdir()
        stages = Stages(time.time(), quiet=True)
        if variant.workers == 0:
            # A process of its own, as the workers are: it begins by importing PyTorch, and what it
            # sets for its memory ends with it.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                pool.submit(fit_in_process, plan, data, folder, cores, stages).result()
        else:
            layout = WorkerLayout(variant.workers, cpus_each=cores // variant.workers)
            fit_on_ray(plan, data, folder, layout, stages)
        last = read_history(folder / HISTORY)[-1]
        return Turn(last.images_per_second, last.seconds, startup_seconds(folder))


def matmul_peak(cores: int) -> float:
    """The best rate, in GFLOP/s, of a large matrix product in the precision that training uses."""
    import torch

    from cifar_model.training import native_precision

    dtype = torch.bfloat16 if native_precision() == "bf16-mixed" else torch.float32
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    size = 4096
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        (left @ right)[0, 0].item()
        best = max(best, 2 * size**3 / (time.perf_counter() - started) / 1e9)
    torch.set_num_threads(before)
    return best


def summarise(turns: dict[str, list[Turn]], peak: float) -> dict[str, float]:
    """Medians over the rounds, and what follows from them."""

    def median(key: str, of: Callable[[Turn], float]) -> float:
        return statistics.median(of(turn) for turn in turns[key])

    figures = {key: median(key, lambda turn: turn.images_per_second) for key in turns}
    epoch_s = {key: median(key, lambda turn: turn.epoch_seconds) for key in turns}
    ours = figures["ours_img_s"]
    if two := figures.get("ours_two_workers_img_s"):
        figures["two_workers_over_one"] = two / ours
    return {
        **figures,
        "ours_over_seed_way": ours / figures["seed_way_img_s"],
        "matmul_peak_gflops": peak,
        "share_of_peak": ours * FLOPS_PER_IMAGE / 1e9 / peak,
        "ray_epoch_overhead": epoch_s["ray_seed_way_img_s"] / epoch_s["seed_way_img_s"] - 1,
        "ray_epoch_overhead_on_ours": epoch_s["ours_img_s"] / epoch_s["ours_without_ray_img_s"] - 1,
        "ray_startup_s": median("ours_img_s", lambda turn: turn.startup_seconds)
        - median("ours_without_ray_img_s", lambda turn: turn.startup_seconds),
    }


def table(turns: dict[str, list[Turn]], figures: dict[str, float]) -> str:
    """The figures for people: medians and ranges."""
    lines = ["", f"{'':24}{'images/s':>10}{'range':>16}{'x (a)':>8}"]
    for variant in (variant for variant in variants() if variant.key in turns):
        rates = [turn.images_per_second for turn in turns[variant.key]]
        spread = f"{min(rates):.1f} to {max(rates):.1f}"
        times = figures[variant.key] / figures["seed_way_img_s"]
        lines.append(f"{variant.title:24}{figures[variant.key]:10.1f}{spread:>16}{times:8.2f}")
    lines += [
        "",
        f"matmul peak            {figures['matmul_peak_gflops']:10.0f} GFLOP/s",
        f"share of it in (c)     {figures['share_of_peak']:10.1%}",
        f"Ray adds to an epoch   {figures['ray_epoch_overhead']:10.1%} in (b)",
        f"                       {figures['ray_epoch_overhead_on_ours']:10.1%} in (c)",
        f"Ray adds to the start  {figures['ray_startup_s']:10.1f} s in (c)",
    ]
    if "two_workers_over_one" in figures:
        lines.append(f"(d) over (c)           {figures['two_workers_over_one']:10.2f}")
    return "\n".join(lines)
