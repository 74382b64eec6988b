"""What tests share: one real Ray for the whole run, small data, and one model trained on it."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from jobs.connection import RAY_SETTINGS, start_local_ray
from jobs.free_port import free_port
from serve_app.settings import apply_local_settings, apply_serve_settings

# Ray reads these when it is imported or started.
os.environ.update(RAY_SETTINGS)
apply_serve_settings()
apply_local_settings()
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
# Started in the background of a script, pytest is deaf to Ctrl-C, and all that it starts would be.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
SERVED = {"served", "over_http"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that need the served application come last: its idle processes slow the others down."""
    served = {item.path for item in items if SERVED & fixtures_of(item)}
    items.sort(key=lambda item: item.path in served)


def fixtures_of(item: pytest.Item) -> set[str]:
    """Names of the fixtures that a test asks for, also of those its parameters name."""
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return {*getattr(item, "fixturenames", ()), *(p for p in parameters if isinstance(p, str))}


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray with eight logical CPUs, on however many cores there are.

    No GPU, so that several workers fit on any machine.
    """
    import ray

    start_local_ray(num_cpus=8, num_gpus=0, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The --storage of all runs of the suite."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="session")
def digits_run(ray_cluster: None, runs: Path) -> Path:
    """A run of two Ray workers on the digits, in float32 so that recounts are exact, evaluated."""
    from jobs import evaluate, train

    what = "--data digits --recipe digits --train-limit 800 --epochs 3 --precision 32-true"
    how = "--workers 2 --cpus-per-worker 1 --name two-workers"
    train.main([*f"{what} {how} --storage {runs}".split()])
    folder = runs / "two-workers"
    evaluate.main(["--model", str(folder / "model")])
    return folder


@pytest.fixture(scope="session")
def digits_model(digits_run: Path) -> Path:
    """The model folder of `digits_run`."""
    return digits_run / "model"


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """Twelve pictures each of two classes, told apart by colour, in one folder a class."""
    rng = np.random.default_rng(0)
    for name, colour in (("red", (200, 40, 40)), ("blue", (40, 40, 200))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(12):
            noise = rng.integers(-30, 30, (40, 56, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


@pytest.fixture
def picture_parquet(picture_folder: Path) -> Path:
    """Forty training pictures in three row groups each of two files, and eight for a test."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = picture_folder.parent / "parquet"
    folder.mkdir()
    names = ["blue", "red"]
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    schema = {"huggingface": json.dumps({"info": {"features": features}})}
    rng = np.random.default_rng(1)
    for name, count in (("train-0-of-2", 20), ("train-1-of-2", 20), ("test-0-of-1", 8)):
        labels = rng.permutation(np.arange(count) % 2)
        files = [picture_folder / names[label] / f"{i % 12}.png" for i, label in enumerate(labels)]
        cells = [{"bytes": file.read_bytes(), "path": None} for file in files]
        table = pa.table({"image": cells, "label": labels}).replace_schema_metadata(schema)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=7)
    return folder


@pytest.fixture(scope="session")
def sure_digit(digits_model: Path) -> tuple[np.ndarray, int]:
    """The test image (32, 32, 3) that the model is surest of and right about, and its class."""
    from cifar_model.predictor import Predictor
    from cifar_model.sources import load_source

    test = load_source("digits").test
    probabilities = Predictor.load(digits_model).probabilities(test.images)
    own = probabilities[np.arange(len(test)), test.labels]
    best = int(own.argmax())
    assert probabilities[best].argmax() == test.labels[best]
    return test.images[best], int(test.labels[best])


@pytest.fixture(scope="session")
def served(ray_cluster: None, digits_model: Path) -> Iterator[str]:
    """Address of the whole application on Ray Serve, with endpoints and page."""
    from ray import serve

    from serve_app.app import read_arguments, targets
    from serve_app.deployments import Asked

    port = free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    asked = Asked({"model": str(digits_model), "replicas": 1}, {})
    serve.run_many(targets(read_arguments(asked.arguments), asked))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture(scope="session")
def run_server() -> Callable[..., AbstractContextManager[str]]:
    """Serves an application from a thread for as long as the block lasts, which has its address.

    Other options than these are uvicorn's.
    """
    return _run_server


@contextmanager
def _run_server(app: ASGIApp, **options: Any) -> Iterator[str]:
    # An open page holds a stream that would never end.
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="warning", timeout_graceful_shutdown=1, **options
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        host, port = server.servers[0].sockets[0].getsockname()
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()
