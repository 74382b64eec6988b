"""Connecting to Ray: the cluster that RAY_ADDRESS names, or one of our own for this command."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cifar_model.cores import usable_cores
from cifar_model.errors import InputError
from jobs.free_port import free_port
from jobs.interruption import handlers_kept
from jobs.stages import Stages

# Read by Ray when it is imported or started, so set before; a user's own settings win.
RAY_SETTINGS = {
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # training runs show in the dashboard
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it repeats each line that a worker prints
}

TOKEN_REMEDY = (
    "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or ~/.ray/auth_token to the cluster's token"
)
API_SERVER = "RAY_API_SERVER_ADDRESS"  # where Ray's state and job clients look first
REACH_SECONDS = 5  # for a connection to RAY_ADDRESS; Ray itself would try for minutes


@dataclass(frozen=True)
class Cluster:
    """What a connected Ray offers."""

    nodes: tuple[dict[str, float], ...]  # "CPU", "GPU", … of each node
    dashboard: str | None  # its address, where this command knows it


@contextmanager
def ray_cluster(*, worker_output: bool = True) -> Iterator[Cluster]:
    """What Ray offers while connected; disconnects at the end.

    worker_output: print here what workers print.

    Without RAY_ADDRESS it starts a local Ray with one CPU a core that this process may use.
    InputError if there is none at RAY_ADDRESS, or if it won't let us in.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if is_local():
        # It listens on 127.0.0.1 alone, as on other systems than Linux, and asks for its token,
        # Ray's own default, of which it would warn each time.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        # Ray runs its workers at 15, where a step on all cores waits for whatever else is running.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Ray Train warns of a use of its own in each run.
        os.environ.setdefault("PYTHONWARNINGS", "ignore:`ExecutionOptions.exclude_resources`")
    import ray

    if ray.is_initialized():
        yield Cluster(_nodes(), dashboard=None)
        return
    with handlers_kept():  # Ray has one of its own for SIGTERM
        if is_local():
            context = start_local_ray(
                num_cpus=usable_cores(), logging_level="WARNING", log_to_driver=worker_output
            )
        else:
            context = _join(logging_level="WARNING", log_to_driver=worker_output)
    try:
        url = context.dashboard_url
        yield Cluster(_nodes(), f"http://{url}" if url else None)
    finally:
        ray.shutdown()


@contextmanager
def connected(stages: Stages, *, worker_output: bool = True) -> Iterator[Cluster]:
    """`ray_cluster`, saying what is being waited for; inside another such block, the same Ray."""
    if not is_connected():
        stages.say("Starting Ray" if is_local() else "Connecting to the Ray cluster")
    with ray_cluster(worker_output=worker_output) as cluster:
        if cluster.dashboard:
            stages.say(f"Ray is up, its dashboard at {cluster.dashboard}")
        yield cluster


def start_local_ray(**options: Any) -> Any:
    """`ray.init` of a Ray for this process alone; its actors ask it, and no other, about itself.

    Ray Train's watchers look for their dashboard by the environment, then as any command would:
    in the Ray that `ray start` began last on this machine, or the only one there is. Another Ray
    knows nothing of the run, which counts as its end, and the workers are taken away.
    """
    import ray

    port, before = free_port(), os.environ.get(API_SERVER)
    os.environ[API_SERVER] = f"http://127.0.0.1:{port}"  # inherited by all that Ray starts
    try:
        return ray.init(
            address="local",
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            dashboard_port=port,
            **options,
        )
    finally:
        if before is None:
            del os.environ[API_SERVER]
        else:
            os.environ[API_SERVER] = before


def is_local() -> bool:
    """Whether `ray_cluster` starts a cluster of its own."""
    return os.environ.get("RAY_ADDRESS") in (None, "", "local")


def check_address() -> None:
    """InputError for a RAY_ADDRESS that a command can't connect to; costs no start of Ray."""
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith(("http://", "https://")):
        raise InputError(
            f"RAY_ADDRESS {address} is a job server, which takes jobs: python -m jobs.submit …; "
            "or unset RAY_ADDRESS to run here"
        )
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", or what Ray itself refuses
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"RAY_ADDRESS {address}: nothing answers there ({error}); expected a head's HOST:6379, "
            "or unset RAY_ADDRESS to run here"
        ) from error


def _join(**options: Any) -> Any:
    """`ray.init` at RAY_ADDRESS, its errors as one `InputError`."""
    import ray

    check_address()
    address = os.environ["RAY_ADDRESS"]
    try:
        return ray.init(**options)
    except ray.exceptions.AuthenticationError as error:
        raise InputError(f"RAY_ADDRESS {address}: no token; {TOKEN_REMEDY}") from error
    except ConnectionError as error:
        # Ray's reason, a wrong token among others, stands in its own log lines before.
        raise InputError(
            f"RAY_ADDRESS {address}: {error}; if a head listens there, {TOKEN_REMEDY}"
        ) from error
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"RAY_ADDRESS {address}: {reason}") from error


def _nodes() -> tuple[dict[str, float], ...]:
    import ray

    return tuple(node["Resources"] for node in ray.nodes() if node["Alive"])


def is_connected() -> bool:
    """Whether this process is; finds out without importing Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
