"""Serve a model folder: HTTP endpoints and page on one port, until Ctrl-C.

python -m serve_app --model runs/first/model
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from collections.abc import Sequence

from cifar_model.errors import InputError, one_line_errors
from serve_app.settings import apply_serve_settings

LOGS = "/tmp/ray/session_latest/logs/serve"
QUIET = {"log_level": "WARNING"}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app", description="Serve a model folder on Ray until Ctrl-C."
    )
    add = parser.add_argument
    add(
        "--model",
        help="model folder that jobs.train exported (default: the built-in CIFAR-10 model)",
    )
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    options = parser.parse_args(arguments)
    with one_line_errors("serve_app"):
        serve_forever(options.model, options.host, options.port)


def serve_forever(model: str | None, host: str, port: int) -> None:
    """Deploy, print the addresses, and wait for Ctrl-C or SIGTERM."""
    if not 1 <= port <= 65535:
        raise InputError(f"--port {port}: expected 1 to 65535")
    check_port_is_free(host, port)
    apply_serve_settings()
    print("Checking the model and starting Ray", flush=True)
    from serve_app.app import APP, build

    application = build({"model": model} if model else {})
    start_ray()
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    print("Starting the replicas; they import PyTorch and load the model", flush=True)
    serve.start(http_options={"host": host, "port": port}, logging_config=QUIET)
    try:
        serve.run(application, name=APP, route_prefix="/")
    except RuntimeError as error:
        serve.shutdown()
        raise InputError(f"the application did not start: {error}; see {LOGS}") from error
    shown = f"[{host}]" if ":" in host else host
    print(
        f"\nReady.\n  page       http://{shown}:{port}/\n  endpoints  http://{shown}:{port}/docs\n"
        f"  try        curl -F file=@picture.png http://{shown}:{port}/v1/classify\nCtrl-C stops.",
        flush=True,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    print("Stopping", flush=True)
    serve.shutdown()


def start_ray() -> None:
    """Connect to RAY_ADDRESS, or start a local Ray."""
    import ray

    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level="WARNING", log_to_driver=False)
        return
    # Replicas are told their number of threads; Ray only counts. Two model replicas must fit.
    cores = max(2, len(os.sched_getaffinity(0)))
    ray.init(
        address="local",
        num_cpus=cores,
        include_dashboard=True,
        logging_level="WARNING",
        log_to_driver=False,
    )


def check_port_is_free(host: str, port: int) -> None:
    """InputError if something listens there already; Serve itself would only time out."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"can't listen on {host}:{port}: {error.strerror}; choose another --port"
            ) from error


if __name__ == "__main__":
    main()
