"""A Ray cluster of this machine whose nodes come and go, for tests.

python nodes.py

Prints its address. Each line "N" on its stdin makes it have N nodes of a core each, besides the
head, which only directs; it answers with "ready". It lives until stdin closes.
"""

import socket
import sys

from ray.cluster_utils import Cluster


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 0,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": free_port(),
        "dashboard_agent_listen_port": free_port(),
    },
)
print(cluster.address, flush=True)
for number, line in enumerate(sys.stdin):
    dead = [n for n in cluster.worker_nodes if any(k == "raylet" for k, _ in n.dead_processes())]
    alive = [n for n in cluster.worker_nodes if n not in dead]
    for node in dead + alive[int(line) :]:
        cluster.remove_node(node, allow_graceful=False)
    while len(cluster.worker_nodes) < int(line):
        cluster.add_node(
            num_cpus=1,
            dashboard_agent_listen_port=free_port(),
            runtime_env_dir_name=f"runtime_resources_{number}_{len(cluster.worker_nodes)}",
        )
    cluster.wait_for_nodes()
    print("ready", flush=True)
cluster.shutdown()
