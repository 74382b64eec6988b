"""Keeps a replica from opening the port on which it would unpickle what anyone sends.

Each replica of Ray Serve (2.60) starts a gRPC server for calls from other deployments, on all
addresses of its machine, and unpickles what arrives there without asking for Ray's token: whoever
reaches the port can run code. Ours are called through Ray itself, which does ask
(RAY_SERVE_USE_GRPC_BY_DEFAULT in `settings`), so the server gets no port at all.
"""

from __future__ import annotations

from typing import Any

NO_PORT = 0


def keep_pickle_port_closed() -> None:
    """For this process, a replica, whose server is started after its constructor has run.

    AttributeError with a Ray that opens the port in another way, so that none goes unnoticed.
    """
    from ray.serve._private import replica

    if not hasattr(replica, "add_port_to_grpc_server"):
        raise AttributeError("this version of Ray Serve opens its replicas' port in another way")
    replica.add_port_to_grpc_server = _add_none


def _add_none(server: Any, address: str) -> int:
    return NO_PORT
