"""Measure this system on this machine, as ratios within one run.

    python -m jobs.bench train --data cifar10 --json bench.json
    python -m jobs.bench serve --data cifar10 --json bench.json
    python -m jobs.bench engines --data cifar10 --json bench.json
    python -m jobs.bench stream --data parquet:PATH --json bench.json

Nothing else should be running: the variants take turns, so that a slow minute hits all alike, but a
busy machine still spoils the shares.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cifar_model.cores import usable_cores
from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import write_json
from cifar_model.given_path import given_path
from cifar_model.sources import IMAGE_SIDE, SOURCES


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_subparsers(dest="what", required=True)
    train = what.add_parser("train", help="images/s of training, with and without Ray")
    add = train.add_argument
    add("--data", default="cifar10", help=f"{SOURCES} (default: cifar10)")
    add("--rounds", type=int, default=3, help="turns of each variant (default: 3)")
    add("--steps", type=int, default=6, help="steps of an epoch; each turn has two (default: 6)")
    add("--cores", type=int, default=2, help="cores that each variant uses (default: 2)")
    add("--batch-size", type=int, help="images a step (default: the recipes' own)")
    add("--json", help="also write the figures to this file")
    serve = what.add_parser("serve", help="images/s over HTTP, beside the bare model and others")
    _add_of_a_model(serve, rounds=5, seconds=6)
    engines = what.add_parser("engines", help="images/s of the forward pass alone, and accuracy")
    _add_of_a_model(engines, rounds=3, seconds=3)
    add = engines.add_argument
    add("--threads", type=int, default=usable_cores(), help="of a forward pass (default: all)")
    stream = what.add_parser("stream", help="images/s and memory of reading with --stream")
    add = stream.add_argument
    add(
        "--data",
        default="cifar10",
        help="folder:PATH, parquet:PATH, or cifar10 where CIFAR10_DIR has it as parquet (default: "
        "cifar10)",
    )
    add("--image-size", type=int, default=32, help=f"{IMAGE_SIDE} (default: 32)")
    add("--batch-size", type=int, default=512, help="images a step (default: 512)")
    add("--json", help="also write the figures to this file")
    options = parser.parse_args(arguments)
    with one_line_errors("jobs.bench"):
        bench = {"train": _train, "serve": _serve, "engines": _engines, "stream": _stream}
        figures = bench[options.what](options)
        if options.json:
            write_json(given_path(options.json), figures)


def _add_of_a_model(parser: argparse.ArgumentParser, *, rounds: int, seconds: int) -> None:
    add = parser.add_argument
    add("--data", default="cifar10", help=f"{SOURCES} (default: cifar10)")
    add("--model", help="model folder (default: the built-in CIFAR-10 model)")
    add("--rounds", type=int, default=rounds, help=f"turns of each variant (default: {rounds})")
    add("--seconds", type=int, default=seconds, help=f"length of a turn (default: {seconds})")
    add("--json", help="also write the figures to this file")


def _check_from_one(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) < 1:
            raise InputError(f"--{name} {getattr(options, name)}: expected 1 or more")


def _train(options: argparse.Namespace) -> dict[str, float]:
    _check_from_one(options, "rounds", "steps")
    if options.batch_size is not None and options.batch_size < 2:
        raise InputError(f"--batch-size {options.batch_size}: expected 2 or more")
    if options.cores < 2 or options.cores % 2:
        raise InputError(f"--cores {options.cores}: expected an even number, to halve it")

    from jobs.bench_train import bench_train

    return bench_train(
        options.data, options.rounds, options.steps, options.cores, options.batch_size
    )


def _serve(options: argparse.Namespace) -> dict[str, Any]:
    _check_from_one(options, "rounds", "seconds")
    from jobs.bench_serve import bench_serve

    return bench_serve(options.data, _model(options), options.rounds, options.seconds)


def _engines(options: argparse.Namespace) -> dict[str, Any]:
    _check_from_one(options, "rounds", "seconds", "threads")
    from jobs.bench_engines import bench_engines

    return bench_engines(
        options.data, _model(options), options.rounds, options.seconds, options.threads
    )


def _stream(options: argparse.Namespace) -> dict[str, float]:
    if options.batch_size < 2:
        raise InputError(f"--batch-size {options.batch_size}: expected 2 or more")
    from jobs.bench_stream import bench_stream

    return bench_stream(options.data, options.image_size, options.batch_size)


def _model(options: argparse.Namespace) -> Path:
    from cifar_model.model_folder import BUILT_IN

    return given_path(options.model) if options.model else BUILT_IN


if __name__ == "__main__":
    main()
