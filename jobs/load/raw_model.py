"""The model in a loop, without any server: what a server can reach at most.

    python -m jobs.load.raw_model MODEL SQUARES.npy

Prints the label and probability of the first pictures as a line of JSON; then, for each line
"BATCH SECONDS" that it reads, runs batches of distinct pictures for so long and prints what came of
that.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cifar_model.predictor import Predictor

LOOKED_AT = 256  # pictures whose labels are printed


@dataclass(frozen=True)
class Pace:
    """What a loop came to."""

    images_per_second: float
    p50_ms: float  # of a batch
    p99_ms: float


class RawModel:
    """That process, as seen from outside."""

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        first = self._answer()
        self.labels: list[str] = first["labels"]
        self.probabilities: list[float] = first["probabilities"]

    def run(self, batch: int, seconds: int) -> Pace:
        """Let it run for a while."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{batch} {seconds}\n")
        self.process.stdin.flush()
        return Pace(**self._answer())

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the raw model has ended; see the lines above")
        return dict(json.loads(line))


@contextmanager
def raw_model(model: Path, squares: Path) -> Iterator[RawModel]:
    """The process, for as long as the block lasts."""
    command = [sys.executable, "-m", "jobs.load.raw_model", str(model), str(squares)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True, start_new_session=True) as process:
        try:
            yield RawModel(process)
        finally:
            process.kill()


def main() -> None:
    """The process itself."""
    from cifar_model.predictor import Predictor

    squares = np.load(sys.argv[2])
    predictor = Predictor.load(Path(sys.argv[1]), engine="auto")
    found = predictor.probabilities(squares[:LOOKED_AT])
    labels = [predictor.class_names[row.argmax()] for row in found]
    _say({"labels": labels, "probabilities": [float(row.max()) for row in found]})
    for line in sys.stdin:
        batch, seconds = map(int, line.split())
        _say(asdict(_loop(predictor, squares, batch, seconds)))


def _loop(predictor: Predictor, squares: NDArray[np.uint8], batch: int, seconds: float) -> Pace:
    times: list[float] = []
    pictures = len(squares) // batch * batch
    started = now = time.perf_counter()
    while now - started < seconds:
        at = len(times) * batch % pictures
        predictor.logits(squares[at : at + batch])
        before, now = now, time.perf_counter()
        times.append(now - before)
    slow = np.percentile(times, [50, 99]) * 1e3
    return Pace(len(times) * batch / (now - started), float(slow[0]), float(slow[1]))


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
