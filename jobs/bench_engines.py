"""The forward pass alone: each engine at several batch sizes, in turns, and whether they agree.

PyTorch in float32 is the reference, whose accuracy the others have to hold.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.dataset import LabelledImages
from cifar_model.engine import ENGINES, EngineName, gpu_count
from cifar_model.model_config import read_config
from cifar_model.predictor import Predictor
from cifar_model.sources import load_test_set
from jobs.evaluate import check_classes
from jobs.load.target import check_enough
from jobs.stages import Stages

BATCHES = (1, 8, 32)
REFERENCE: EngineName = "torch"


def bench_engines(
    spec: str, model: Path, rounds: int, seconds: float, threads: int
) -> dict[str, Any]:
    """Measure, print a table, and return the figures.

    Keys: ENGINE_batchN_img_s, ENGINE_accuracy of the test set, and ENGINE_logit_difference, the
    largest from the reference.
    """
    stages = Stages(time.time())
    stages.say(f"Reading {spec}")
    config = read_config(model)
    test_set = load_test_set(spec, image_size=config.image_size)
    check_classes(config, test_set)
    test = test_set.test
    check_enough(len(test), BATCHES[-1])
    engines = [name for name in ENGINES if is_here(name)]
    predictors = {name: Predictor.load(model, engine=name, threads=threads) for name in engines}
    paces: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        stages.say(f"Round {number + 1} of {rounds}")
        for name, batch in product(engines, BATCHES):
            pace = images_per_second(predictors[name], test.images, batch, seconds)
            paces.setdefault((name, batch), []).append(pace)
    stages.say(f"All {len(test):,} test images")
    logits = {name: all_logits(predictor, test) for name, predictor in predictors.items()}
    figures: dict[str, Any] = {}
    for name in engines:
        for batch in BATCHES:
            figures[f"{name}_batch{batch}_img_s"] = median(paces[name, batch])
        figures[f"{name}_accuracy"] = float((logits[name].argmax(axis=1) == test.labels).mean())
        apart = np.abs(logits[name] - logits[REFERENCE]).max()
        figures[f"{name}_logit_difference"] = float(apart)
    print(table(figures, engines))
    return figures


def is_here(name: EngineName) -> bool:
    """Whether this machine can run the engine."""
    return {
        "auto": False,  # is one of the others
        "gpu": gpu_count() > 0,
        "openvino": find_spec("openvino") is not None,
        "int8": find_spec("openvino") is not None,
        "torch": True,
    }[name]


def images_per_second(
    predictor: Predictor, images: NDArray[np.uint8], batch: int, seconds: float
) -> float:
    """The pace of a loop over batches of distinct pictures, after a first one that warms up."""
    starts = range(0, len(images) - batch + 1, batch)
    predictor.forward(images[:batch])
    began, done = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        start = starts[(done // batch) % len(starts)]
        predictor.forward(images[start : start + batch])
        done += batch
    return done / passed


def all_logits(predictor: Predictor, test: LabelledImages) -> NDArray[np.float32]:
    """Logits (N, K) of all images."""
    size = BATCHES[-1]
    parts = [predictor.logits(test.images[i : i + size]) for i in range(0, len(test), size)]
    return np.concatenate(parts)


def table(figures: dict[str, Any], engines: Sequence[str]) -> str:
    """The figures as people read them."""
    heads = [*(f"batch {batch}" for batch in BATCHES), "accuracy", "logits apart"]
    lines = ["images/s".ljust(12) + "".join(head.rjust(14) for head in heads)]
    for name in engines:
        speeds = "".join(f"{figures[f'{name}_batch{batch}_img_s']:14.1f}" for batch in BATCHES)
        accuracy, apart = figures[f"{name}_accuracy"], figures[f"{name}_logit_difference"]
        lines.append(f"{name:12}{speeds}{accuracy:14.2%}{apart:14.1e}")
    return "\n".join(lines)
