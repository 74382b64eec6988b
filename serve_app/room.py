"""Whether a Ray has the room for a server: Serve itself would wait without a word."""

from __future__ import annotations

from collections.abc import Mapping

from cifar_model.errors import InputError
from serve_app.app import DEPLOYMENTS, Arguments, cpus_of, gpus_of


def check_room(cpus: int, now: Arguments, then: Arguments) -> None:
    """InputError if the replicas that run can't give way to the new ones.

    cpus: of the Ray that holds both; it was started by a server for itself, and doesn't grow.
    """
    # An old replica goes once as many run as are wanted: what is added stands beside the old ones.
    added = max(0, (then.replicas or 1) - (now.replicas or 1)) * len(DEPLOYMENTS) * then.cores
    needed = max(cpus_of(then), cpus_of(now) + added + then.cores)
    if needed > cpus:
        raise InputError(
            f"the change takes {needed} CPUs and the server was started with {cpus}: give fewer "
            "--replicas or --cores, or start it anew"
        )


def say_what_is_awaited(resources: Mapping[str, float], then: Arguments) -> None:
    """Print a line for what a cluster has too little of as it is; its autoscaler may add nodes.

    resources: of the whole cluster, "CPU", "GPU".
    """
    wanted = (("CPU", cpus_of(then), "--cores"), ("GPU", gpus_of(then), "--gpus"))
    for kind, needed, option in wanted:
        if needed > (there := resources.get(kind, 0)):
            print(
                f"The replicas take {needed:g} {kind}s and the cluster has {there:g}: they wait "
                f"for more nodes; Ctrl-C gives up, fewer --replicas or {option} need less",
                flush=True,
            )
