"""Whether a Ray has the room for a server: Serve itself would wait without a word."""

from __future__ import annotations

from collections.abc import Mapping

from cifar_model.errors import InputError
from serve_app.app import DEPLOYMENTS, Arguments, replicas_of

OPTIONS = {"CPU": "--cores", "GPU": "--gpus"}


def of_each(wanted: Arguments) -> dict[str, float]:
    """What Ray sets aside for a replica."""
    return {"CPU": wanted.cores, "GPU": wanted.gpus}


def check_room(
    resources: Mapping[str, float], then: Arguments, now: Arguments | None = None
) -> None:
    """InputError if the replicas don't fit, or those that run can't give way to the new ones.

    resources: "CPU" and "GPU" of the Ray that holds them; it was started by a server for itself,
        and doesn't grow.
    """
    for kind, each in of_each(then).items():
        needed = replicas_of(then) * each
        if now is not None:
            held = replicas_of(now) * of_each(now)[kind]
            # An old replica goes once as many run as are wanted: what is added stands beside it.
            added = max(0, (then.replicas or 1) - (now.replicas or 1)) * len(DEPLOYMENTS)
            needed = max(needed, held + (added + 1) * each)
        there = resources.get(kind, 0)
        if needed > there + 1e-9:  # shares of a GPU are no exact binary fractions
            what, also = ("change takes", ", or start it anew") if now else ("replicas take", "")
            raise InputError(
                f"the {what} {needed:g} {kind}s and the server has {there:g}: give fewer "
                f"--replicas or {OPTIONS[kind]}{also}"
            )


def say_what_is_awaited(resources: Mapping[str, float], then: Arguments) -> None:
    """Print a line for what a cluster has too little of as it is; its autoscaler may add nodes.

    resources: of the whole cluster, "CPU", "GPU".
    """
    for kind, each in of_each(then).items():
        needed, there = replicas_of(then) * each, resources.get(kind, 0)
        if needed > there + 1e-9:
            print(
                f"The replicas take {needed:g} {kind}s and the cluster has {there:g}: they wait "
                f"for more nodes; Ctrl-C gives up, fewer --replicas or {OPTIONS[kind]} need less",
                flush=True,
            )
