"""Serve a model folder: HTTP endpoints and page on one port, until Ctrl-C.

python -m serve_app --model runs/first/model
"""

from __future__ import annotations

import argparse
import logging
import math
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifar_model.cores import usable_cores
from cifar_model.engine import ENGINES, gpu_count
from cifar_model.errors import InputError, one_line_errors
from cifar_model.given_path import given_path
from serve_app.replica_settings import settings_for_replicas
from serve_app.running import address_of, running_here
from serve_app.settings import (
    apply_local_settings,
    apply_serve_settings,
    cluster_address,
    stay_on_this_machine,
)

if TYPE_CHECKING:
    from serve_app.app import Arguments
    from serve_app.deployments import Asked

LOGS = "/tmp/ray/session_latest/logs/serve"
READY = """
Ready.
  page       {url}/
  endpoints  {url}/docs
  try        curl -F file=@picture.png {url}/v1/classify
Ctrl-C stops."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = parse(arguments)
    wanted = {
        name: getattr(options, name)
        for name in ("model", "models", "replicas", "cores", "gpus", "engine")
        if getattr(options, name) is not None
    }
    with one_line_errors("serve_app"):
        # Replicas, and a later --update, run in other folders.
        wanted |= {n: str(given_path(wanted[n])) for n in ("model", "models") if n in wanted}
        if options.update:
            update(wanted, options.port)
        else:
            serve_forever(wanted, options.host, options.port)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; those of the applications that were left out are None."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app", description="Serve a model folder on Ray until Ctrl-C."
    )
    add = parser.add_argument
    add(
        "--model",
        help="model folder that jobs.train exported (default: the built-in CIFAR-10 model)",
    )
    add("--models", help="folder of exported models, or of runs, all served by name beside --model")
    add("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    add("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    add(
        "--replicas",
        type=int,
        help="replicas of each model server (default: one here, on a cluster as config.yaml says)",
    )
    add(
        "--cores",
        type=int,
        help="CPU cores of each (default: all over the replicas; on a cluster 1)",
    )
    add(
        "--gpus",
        type=float,
        help="GPUs of each, or its share of one "
        "(default: half of them over all replicas; on a cluster 0)",
    )
    add(
        "--engine",
        choices=ENGINES,
        help="what runs the model; auto: gpu for a replica that has one, else openvino; "
        "int8: openvino in 8 bits, faster and not as exact (default: auto)",
    )
    add(
        "--update",
        action="store_true",
        help="change what is given here of the server that runs already, without a request lost, "
        "and end; all else stays, and the old replicas go on if the new ones can't start; one that "
        "is not on 8000 is found by its --port",
    )
    return parser.parse_args(arguments)


def serve_forever(wanted: dict[str, Any], host: str, port: int) -> None:
    """Deploy, print the addresses, and wait for Ctrl-C or SIGTERM.

    wanted: arguments of the applications; see config.yaml.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"--port {port}: expected 1 to 65535")
    settings = settings_for_replicas()
    on_cluster = cluster_address() is not None
    apply_serve_settings()
    if not on_cluster:
        check_port_is_free(host, port)
        apply_local_settings()
    print("Checking the model and starting Ray", flush=True)
    from serve_app.app import read_arguments
    from serve_app.deployments import Asked
    from serve_app.ours import our_applications, take_away
    from serve_app.room import check_room, say_what_is_awaited

    arguments = read_arguments(with_local_sizes(wanted))
    start_ray(arguments)
    import ray
    from ray import serve

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    begun = not serve.status().proxies
    if names := our_applications():
        raise InputError(
            f"this Ray serves {', '.join(names)} already; put the model in its place with --update"
        )
    if not begun:
        print("Serve runs on this cluster already, at its own host and port", flush=True)
    elif on_cluster:
        check_port_is_free(host, port)
    if on_cluster:
        say_what_is_awaited(ray.cluster_resources(), arguments)
    else:
        check_room(ray.cluster_resources(), arguments)
    print("Starting the replicas; they load the model and run it once", flush=True)
    if begun:
        serve.start(http_options={"host": host, "port": port})
    try:
        deploy(arguments, Asked(wanted, settings))
        shown = f"[{host}]" if ":" in host else host
        with running_here(port):
            print(READY.format(url=f"http://{shown}:{port}" if begun else ""), flush=True)
            wait_for_signal()
        print("Stopping: what was taken in is answered first", flush=True)
    finally:
        take_away()
        if begun:
            serve.shutdown()


def wait_for_signal() -> None:
    """Until Ctrl-C or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


def update(wanted: dict[str, Any], port: int) -> None:
    """Deploy to the server that runs at RAY_ADDRESS, or on this machine's port, and return.

    What is not wanted otherwise stays as it was started. The new replicas are warm before the old
    ones go. InputError if there is no such server, or if the new replicas do not start; then the
    old ones go on.
    """
    settings = settings_for_replicas()
    on_cluster = cluster_address() is not None
    apply_serve_settings()
    if not on_cluster:
        stay_on_this_machine()
    address = cluster_address() or address_of(port)
    join_ray(address, "start a server without --update")
    import ray

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    from serve_app.app import read_arguments
    from serve_app.deployments import Asked
    from serve_app.ours import asked_of_them, check_kept, our_applications
    from serve_app.room import check_room, say_what_is_awaited

    if not our_applications():
        raise InputError(f"Ray at {address} serves none of this; start a server without --update")
    before = asked_of_them()
    check_kept({k: v for k, v in before.arguments.items() if k not in wanted}, Path.cwd())
    asked = Asked({**before.arguments, **wanted}, {**before.settings, **settings})
    arguments = read_arguments(with_local_sizes(asked.arguments))
    resources = ray.cluster_resources()
    if on_cluster:
        say_what_is_awaited(resources, arguments)
    else:
        check_room(resources, arguments, read_arguments(with_local_sizes(before.arguments)))
    print("Starting new replicas; the old ones answer until they are ready", flush=True)
    deploy(arguments, asked)
    print("Updated.", flush=True)


def deploy(arguments: Arguments, asked: Asked) -> None:
    """All applications, and wait until they answer; InputError if they do not come up."""
    from ray import serve
    from ray.serve.exceptions import RayServeException

    from serve_app.app import targets

    try:
        serve.run_many(targets(arguments, asked))
    except (RuntimeError, RayServeException) as error:
        raise InputError(f"the application did not start: {error}; see {LOGS}") from error


def with_local_sizes(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """On one machine every kind of request may use all of it, since they seldom come at once."""
    if cluster_address():
        return wanted
    sized = {"replicas": 1, **wanted}
    replicas = max(1, sized["replicas"])
    return {"cores": max(1, usable_cores() // replicas), "gpus": share_of_gpus(replicas), **sized}


def share_of_gpus(replicas: int) -> float:
    """Of this machine's GPUs, for each replica of each kind.

    Half of them are left for while one version of a model takes the place of another.
    """
    from serve_app.app import DEPLOYMENTS

    places, gpus = 2 * len(DEPLOYMENTS) * replicas, gpu_count()
    if gpus >= places:
        return float(gpus // places)
    # Each GPU is cut into equal shares; Ray counts in ten-thousandths.
    return int(10_000 / math.ceil(places / gpus)) / 10_000 if gpus else 0.0


def join_ray(address: str, remedy: str) -> None:
    """Connect to a Ray that runs; InputError, with the remedy, if there is none."""
    import ray

    if address.startswith(("http://", "https://")):
        raise InputError(
            f"RAY_ADDRESS {address} is a job server, which takes jobs: python -m jobs.submit serve "
            "…; on a node of the cluster, RAY_ADDRESS is Ray's own HOST:6379"
        )
    try:
        ray.init(address=address, logging_level="WARNING", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"no Ray answers at {address}: {reason}; {remedy}") from error


def start_ray(arguments: Arguments) -> None:
    """Connect to RAY_ADDRESS, or start a local Ray in which the replicas fit."""
    import ray

    if address := cluster_address():
        join_ray(address, "or unset RAY_ADDRESS to serve from here")
        return
    from serve_app.app import replicas_of

    # Ray only counts: all kinds of replicas share the cores. Twice, for while one version of a
    # model takes the place of another, both are there.
    ray.init(
        address="local",
        num_cpus=2 * arguments.cores * replicas_of(arguments),
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
