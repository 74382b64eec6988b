"""A Ray cluster of this machine whose nodes come and go, for tests.

python nodes.py NODES

Prints its address. Each line "N" on its stdin makes it have N nodes, the head included, of a core
each; it answers with "ready". It lives until stdin closes.
"""

import sys

from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
added = 0


def have(count):
    """Start the nodes that are missing; those whose raylet has died no longer count."""
    global added
    for node in list(cluster.worker_nodes):
        if not node.live_processes() or any(name == "raylet" for name, _ in node.dead_processes()):
            cluster.remove_node(node, allow_graceful=False)
    while 1 + len(cluster.worker_nodes) < count:
        cluster.add_node(num_cpus=1, runtime_env_dir_name=f"runtime_resources_{added}")
        added += 1
    cluster.wait_for_nodes()


have(int(sys.argv[1]))
print(cluster.address, flush=True)
for line in sys.stdin:
    have(int(line))
    print("ready", flush=True)
cluster.shutdown()
