"""Serving speed: our application against the bare model and other ways to serve it, in one run.

All servers are up the whole time, and only one at a time is under load: they take turns, so that a
slow minute hits all alike. Each gets the same JPEG bytes, and is asked first whether it names the
same classes as the model itself.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from cifar_model.model_config import read_config
from cifar_model.sources import load_source
from jobs.load import open_loop, wrk
from jobs.load.batch_sizes import BatchSizes
from jobs.load.process_tree import cpu_between, cpu_seconds, memory_mib
from jobs.load.raw_model import RawModel, raw_model
from jobs.load.server import Server
from jobs.load.target import (
    FORM,
    JPEG,
    Bodies,
    LoadResult,
    Target,
    check_enough,
    form,
    jpeg,
    write_bodies,
)
from jobs.serve_figures import (
    OPEN_LOOP_KEYS,
    OPEN_LOOP_SHARES,
    Turn,
    figures_of,
    open_loop_key,
    table,
)
from jobs.serve_servers import (
    EAGER,
    LITSERVE,
    NO_OP,
    OURS,
    PREPARED,
    WARM_UP_S,
    available,
    best_workers,
    start_all,
)
from jobs.stages import Stages

PICTURES = 2048
FORM_SIZE = 32
IDLE_S = 5
COMPARED = 8  # pictures, the ones the model is surest of


@dataclass(frozen=True)
class Variant:
    """One kind of request to one server."""

    key: str  # in the figures
    server: str
    path: str
    connections: int
    forms: bool = False  # FORM_SIZE pictures a request


# Ours and others alternate: the server's own count of a load's batches comes some seconds later.
VARIANTS = (
    Variant("serve_c1", OURS, "/v1/classify", 1),
    Variant("fastapi", EAGER, "/classify", 32),
    Variant("serve_c8", OURS, "/v1/classify", 8),
    Variant("fastapi_prepared", PREPARED, "/classify", 32),
    Variant("serve_c32", OURS, "/v1/classify", 32),
    Variant("litserve", LITSERVE, "/classify", 32),
    Variant("serve_c128", OURS, "/v1/classify", 128),
    Variant("client_noop", NO_OP, "/", 32),
    # As many connections as keep the model busy; more pictures than it can answer soon are refused.
    Variant("serve_batch32", OURS, "/v1/classify", 3, forms=True),
    Variant("gradcam_package", EAGER, "/explain", 32),
    Variant("explain", OURS, "/v1/explain", 32),
)
RAW_BATCHES = (1, 32)


@dataclass
class Bench:
    """The servers that run, what is sent to them, and what was measured."""

    servers: Mapping[str, Server]
    raw: RawModel
    pictures: Bodies
    forms: Bodies
    seconds: int
    batch_sizes: BatchSizes
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    reached: dict[str, list[float]] = field(default_factory=dict)  # batch sizes

    def variants(self) -> list[Variant]:
        """Those whose server is there."""
        return [variant for variant in VARIANTS if variant.server in self.servers]

    def target(self, variant: Variant) -> Target:
        """Where the variant's requests go, and their bodies."""
        bodies = self.forms if variant.forms else self.pictures
        return Target(self.servers[variant.server].url + variant.path, bodies)

    def closed_loop(self, variant: Variant) -> None:
        """One turn at full load."""
        target = self.target(variant)
        if variant.server == OURS:
            self.batch_sizes.settle()
        warm_up = wrk.drive(target, variant.connections, WARM_UP_S)
        with self.measured(variant.key, variant.server, target) as results:
            results.append(wrk.drive(target, variant.connections, self.seconds))
        if variant.server == OURS:
            answered = (results[0].answered + warm_up.answered) * target.bodies.pictures
            self.batch_sizes.loaded(answered, self.reached.setdefault(variant.key, []))

    def open_loop(self, key: str, variant: Variant, rate: float, seed: int) -> None:
        """One turn at a given rate of requests."""
        target = self.target(variant)
        with self.measured(key, variant.server, target) as results:
            results.append(open_loop.offer(target, rate, self.seconds, seed))

    def raw_loop(self, batch: int) -> None:
        """One turn of the model alone."""
        before = cpu_seconds(self.raw.process.pid)
        pace = self.raw.run(batch, self.seconds)
        after = cpu_seconds(self.raw.process.pid)
        images = pace.images_per_second * self.seconds
        cpu = cpu_between(before, after) / images * 1000
        turn = Turn(pace.images_per_second, pace.p50_ms, pace.p99_ms, 0, cpu, memory_mib(after))
        self.turns.setdefault(f"raw_batch{batch}", []).append(turn)

    @contextmanager
    def measured(self, key: str, server: str, target: Target) -> Iterator[list[LoadResult]]:
        """Around a load, whose result is put into the list."""
        root = self.servers[server].process.pid
        results: list[LoadResult] = []
        before = cpu_seconds(root)
        yield results
        after, (result,) = cpu_seconds(root), results
        images = result.answered * target.bodies.pictures
        turn = Turn(
            images / result.seconds,
            result.p50_ms,
            result.p99_ms,
            result.errors,
            cpu_between(before, after) / max(1, images) * 1000,
            memory_mib(after),
        )
        self.turns.setdefault(key, []).append(turn)


def bench_serve(spec: str, model: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """Measure, print a table, and return the figures."""
    wrk.require_wrk()
    stages = Stages(time.time())
    with ExitStack() as stack:
        stack.enter_context(_sigterm_unwinds())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-serve-")))
        stages.say(f"Reading {spec}")
        size = read_config(model).image_size
        squares = load_source(spec, image_size=size).test.images[:PICTURES]
        check_enough(len(squares), FORM_SIZE)
        np.save(folder / "squares.npy", squares)
        files = [jpeg(square) for square in squares]
        groups = [files[i : i + FORM_SIZE] for i in range(0, len(files), FORM_SIZE)]
        forms = [form(group) for group in groups if len(group) == FORM_SIZE]
        pictures = write_bodies(folder / "pictures", files, JPEG, 1)
        stages.say("Trying how many processes each rival does best with")
        workers = {
            name: best_workers(name, model, folder, pictures, seconds) for name in available()
        }
        stages.say("Starting the servers")
        servers = start_all(stack, model, folder, workers)
        bench = Bench(
            servers,
            stack.enter_context(raw_model(model, folder / "squares.npy")),
            pictures,
            write_bodies(folder / "forms", forms, FORM, FORM_SIZE),
            seconds,
            BatchSizes(servers[OURS].url),
        )
        stages.say("Comparing what each server sees")
        compare(bench, files, forms[0])
        idle = idle_cores(servers)
        take_turns(bench, rounds, stages)
        stages.say("Stopping the servers")
    processes = {name: count for name, count in workers.items() if count}
    figures = figures_of(bench.turns, bench.reached, idle, processes)
    print(table(figures))
    if LITSERVE not in servers:
        print("\nLitServe was left out; to have it measured: pip install litserve")
    return figures


def compare(bench: Bench, files: Sequence[bytes], first_form: bytes) -> None:
    """RuntimeError unless every server names the classes that the model itself names."""
    surest = sorted(range(min(FORM_SIZE, len(files))), key=lambda i: -bench.raw.probabilities[i])[
        :COMPARED
    ]
    for variant in bench.variants():
        if variant.server == NO_OP:
            continue
        url = bench.target(variant).url
        if variant.forms:
            results = _ask(url, first_form, FORM)["results"]
            answers = {i: results[i] for i in surest}
        else:
            answers = {i: _ask(url, files[i], JPEG) for i in surest}
        for i, answer in answers.items():
            if (seen := answer["predictions"][0]["label"]) != (label := bench.raw.labels[i]):
                raise RuntimeError(f"{url} sees {seen} in picture {i}, the model itself {label}")


def idle_cores(servers: Mapping[str, Server]) -> dict[str, float]:
    """CPU cores that each server takes while none is under load."""
    before = {name: cpu_seconds(server.process.pid) for name, server in servers.items()}
    time.sleep(IDLE_S)
    return {
        name: cpu_between(before[name], cpu_seconds(server.process.pid)) / IDLE_S
        for name, server in servers.items()
    }


def take_turns(bench: Bench, rounds: int, stages: Stages) -> None:
    """All variants at full load, then some at a share of what they reached there."""
    variants = {variant.key: variant for variant in bench.variants()}
    for number in range(rounds):
        stages.say(f"Full load, round {number + 1} of {rounds}")
        turns: list[Callable[[], None]] = [
            *(partial(bench.raw_loop, batch) for batch in RAW_BATCHES),
            *(partial(bench.closed_loop, variant) for variant in variants.values()),
        ]
        # There and back again, so that no variant always has the same neighbour before it.
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
    bench.batch_sizes.settle()
    for number in range(rounds):
        stages.say(f"Given rates, round {number + 1} of {rounds}")
        for key, share in product(OPEN_LOOP_KEYS, OPEN_LOOP_SHARES):
            if key in variants:
                rate = share * median(t.images_per_second for t in bench.turns[key])
                bench.open_loop(open_loop_key(key, share), variants[key], rate, seed=number)


def _ask(url: str, body: bytes, content_type: str) -> dict[str, Any]:
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        return dict(json.load(answer))


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Within the block, SIGTERM ends the process by an exception, so that the servers end too."""

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
