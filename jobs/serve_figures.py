"""What the turns of a serving benchmark come to: medians, ratios with their targets, a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

TITLES = {
    "raw_batch1": "bare model, batch 1",
    "raw_batch32": "bare model, batch 32",
    "serve_c1": "ours, 1 connection",
    "serve_c8": "ours, 8 connections",
    "serve_c32": "ours, 32 connections",
    "serve_c128": "ours, 128 connections",
    "serve_batch32": "ours, 32 pictures a request",
    "fastapi": "FastAPI, eager",
    "fastapi_prepared": "FastAPI, our forward pass",
    "litserve": "LitServe, our forward pass",
    "explain": "ours, explain",
    "gradcam_package": "FastAPI, grad-cam package",
    "client_noop": "no-op server: the client",
}
# Variants that are also offered a share of what they reached at full load.
OPEN_LOOP_KEYS = ("serve_c32", "fastapi_prepared", "litserve")
OPEN_LOOP_SHARES = (0.5, 0.8, 0.95)


@dataclass(frozen=True)
class Turn:
    """One turn of a variant; latencies are those of requests."""

    images_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_s_per_1000_images: float  # of all processes of the server
    memory_mib: float


@dataclass(frozen=True)
class Goal:
    """What a ratio of two figures should be."""

    key: str
    title: str
    above: str
    below: str
    least: float = 0.0
    under: float = math.inf


GOALS = (
    Goal("serve_single_over_raw", "ours over bare model", "serve_single_img_s", "raw_img_s", 0.75),
    Goal(
        "serve_batch32_over_raw",
        "ours, 32 pictures a request, over it",
        "serve_batch32_img_s",
        "raw_img_s",
        0.9,
    ),
    Goal("serve_over_fastapi", "ours over FastAPI", "serve_single_img_s", "fastapi_img_s", 2),
    Goal(
        "serve_over_fastapi_prepared",
        "ours over FastAPI, our forward pass",
        "serve_single_img_s",
        "fastapi_prepared_img_s",
        1,
    ),
    Goal(
        "serve_over_litserve",
        "ours over LitServe, our forward pass",
        "serve_single_img_s",
        "litserve_img_s",
        1,
    ),
    Goal(
        "explain_over_classify",
        "ours, explain over classify",
        "explain_single_img_s",
        "serve_single_img_s",
        0.85,
    ),
    Goal(
        "explain_over_gradcam_package",
        "ours, explain over grad-cam package",
        "explain_single_img_s",
        "gradcam_package_img_s",
    ),
    Goal(
        "p99_c8_over_batch1_latency",
        "p99 at 8 connections over a bare pass",
        "p99_ms_c8",
        "batch1_latency_ms",
        under=10,
    ),
    Goal(
        "client_noop_over_serve",
        "what the client can drive over ours",
        "client_noop_rps",
        "serve_single_img_s",
        3,
    ),
)


def open_loop_key(key: str, share: float) -> str:
    """Name of a variant at a share of its capacity."""
    return f"{key}_at_{share:.0%}"


def figures_of(
    turns: Mapping[str, Sequence[Turn]],
    reached: Mapping[str, Sequence[float]],
    idle: Mapping[str, float],
    processes: Mapping[str, int],
) -> dict[str, Any]:
    """The figures of a run.

    reached: mean batch sizes of each variant's turns; idle: cores that each server takes;
    processes: those that each rival has.
    """
    rows = {key: _row(turns[key], reached.get(key, ())) for key in turns}
    rates = {key: row["images_per_second"] for key, row in rows.items()}
    flat = {
        "raw_img_s": max(rates["raw_batch1"], rates["raw_batch32"]),
        "raw_batch1_img_s": rates["raw_batch1"],
        "raw_batch32_img_s": rates["raw_batch32"],
        "serve_single_img_s": rates["serve_c32"],
        "serve_batch32_img_s": rates["serve_batch32"],
        "explain_single_img_s": rates["explain"],
        "fastapi_img_s": rates["fastapi"],
        "fastapi_prepared_img_s": rates["fastapi_prepared"],
        **({"litserve_img_s": rates["litserve"]} if "litserve" in rates else {}),
        "gradcam_package_img_s": rates["gradcam_package"],
        "p99_ms_c8": rows["serve_c8"]["p99_ms"],
        "batch1_latency_ms": rows["raw_batch1"]["p50_ms"],
        "client_noop_rps": rates["client_noop"],
        "errors": sum(row["errors"] for key, row in rows.items() if _is_ours(key)),
        "rivals_errors": sum(row["errors"] for key, row in rows.items() if not _is_ours(key)),
    }
    ratios = {
        goal.key: flat[goal.above] / flat[goal.below]
        for goal in GOALS
        if goal.above in flat and flat.get(goal.below)  # 0: nothing was answered in time
    }
    return {
        **flat,
        **ratios,
        "idle_cores": dict(idle),
        "rivals_processes": dict(processes),
        "rows": rows,
    }


def _is_ours(key: str) -> bool:
    return key.startswith(("serve_", "explain"))


def _row(turns: Sequence[Turn], reached: Sequence[float]) -> dict[str, Any]:
    rates = [turn.images_per_second for turn in turns]
    return {
        "images_per_second": median(rates),
        "images_per_second_range": [min(rates), max(rates)],
        "p50_ms": median(turn.p50_ms for turn in turns),
        "p99_ms": median(turn.p99_ms for turn in turns),
        "p99_ms_range": [min(turn.p99_ms for turn in turns), max(turn.p99_ms for turn in turns)],
        "errors": sum(turn.errors for turn in turns),
        "cpu_s_per_1000_images": median(turn.cpu_s_per_1000_images for turn in turns),
        "memory_mib": median(turn.memory_mib for turn in turns),
        "batch_size": mean(reached) if reached else None,
        "turns": len(turns),
    }


def table(figures: Mapping[str, Any]) -> str:
    """The figures for people: medians over the turns, and the range of images/s."""
    rows = figures["rows"]
    head = f"{'images/s':>9}{'range':>15}{'p50 ms':>9}{'p99 ms':>9}{'errors':>7}"
    head += f"{'CPU s':>7}{'MiB':>7}{'batch':>7}"
    lines = ["", f"{'At full load':32}{head}"]
    lines += [_line(title, rows[key]) for key, title in TITLES.items() if key in rows]
    lines += ["CPU s: of all processes, for 1,000 images. batch: images in a forward pass.", ""]
    lines.append(f"{'At a share of that':32}{head}")
    for key in OPEN_LOOP_KEYS:
        for share in OPEN_LOOP_SHARES:
            if (name := open_loop_key(key, share)) in rows:
                lines.append(_line(f"{share:.0%}: {TITLES[key].split(', 32')[0]}", rows[name]))
    lines.append("")
    for goal in GOALS:
        if goal.key in figures:
            lines.append(f"{goal.title:40}{figures[goal.key]:8.2f}   {_verdict(goal, figures)}")
    idle = ", ".join(f"{name} {cores:.2f}" for name, cores in figures["idle_cores"].items())
    lines.append(f"CPU cores taken without load: {idle}")
    processes = ", ".join(f"{name} {n}" for name, n in figures["rivals_processes"].items())
    return "\n".join([*lines, f"Processes that each rival did best with: {processes}"])


def _line(title: str, row: Mapping[str, Any]) -> str:
    low, high = row["images_per_second_range"]
    batch = "" if row["batch_size"] is None else f"{row['batch_size']:.1f}"
    return (
        f"{title:32}{row['images_per_second']:9.1f}{f'{low:.1f}-{high:.1f}':>15}{row['p50_ms']:9.1f}"
        f"{row['p99_ms']:9.1f}{row['errors']:7d}{row['cpu_s_per_1000_images']:7.2f}"
        f"{row['memory_mib']:7.0f}{batch:>7}"
    )


def _verdict(goal: Goal, figures: Mapping[str, Any]) -> str:
    """Whether a ratio is what it should be."""
    value = figures[goal.key]
    if goal.under < math.inf:
        return f"wanted under {goal.under:g}: {'reached' if value < goal.under else 'missed'}"
    if goal.least > 0:
        return f"wanted {goal.least:g} or more: {'reached' if value >= goal.least else 'missed'}"
    return ""
