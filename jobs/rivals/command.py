"""The command line that the rivals share, and uvicorn behind it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cifar_model.cores import usable_cores

MODEL, THREADS = "BENCH_MODEL", "BENCH_THREADS"


def options() -> argparse.Namespace:
    """--model, --port and --workers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1, help="processes, which share the cores")
    return parser.parse_args()


def serve(factory: str) -> None:
    """Run the application that a function, named as module:function, makes."""
    import uvicorn

    chosen = options()
    # Worker processes learn from the environment what the command line said.
    os.environ[MODEL] = str(chosen.model)
    os.environ[THREADS] = str(threads_each(chosen.workers))
    uvicorn.run(
        factory,
        factory=True,
        host="127.0.0.1",
        port=chosen.port,
        workers=chosen.workers,
        access_log=False,
        log_level="warning",
    )


def threads_each(workers: int) -> int:
    """The cores over the workers."""
    return max(1, usable_cores() // workers)


def model_folder() -> Path:
    """In a worker: the model to serve."""
    return Path(os.environ[MODEL])


def threads() -> int:
    """In a worker: CPU threads of a forward pass."""
    return int(os.environ[THREADS])
