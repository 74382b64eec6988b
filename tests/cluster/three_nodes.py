"""A Ray cluster of three nodes on this machine, for tests: prints its job server, lives until stdin
closes. The head only directs; two nodes have a core each.

Each unpacks a job's code into a folder of its own, as on a machine of its own: in a shared one, a
node that joins a job unpacks over the files that the others run from.
"""

import socket
import sys

from ray.cluster_utils import Cluster


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


port = free_port()
cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 0,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": port,
        "dashboard_agent_listen_port": free_port(),
    },
)
for i in range(2):
    cluster.add_node(
        num_cpus=2,
        dashboard_agent_listen_port=free_port(),
        runtime_env_dir_name=f"runtime_resources_{i}",
    )
cluster.wait_for_nodes()
print(f"http://127.0.0.1:{port}", flush=True)
sys.stdin.read()
cluster.shutdown()
