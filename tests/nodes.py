"""A Ray cluster of this machine whose nodes come and go, for tests.

python -m tests.nodes CORES

Prints its address and that of its job server. Each line "N" on its stdin makes it have N nodes with
so many cores each, besides the head, which only directs; it answers with "ready". It lives until
stdin closes.

Each node unpacks a job's code into a folder of its own, as on a machine of its own: in a shared
one, a node that joins a job unpacks over the files that the others run from.
"""

import sys

from ray.cluster_utils import Cluster

from jobs.free_port import free_port

cores, dashboard_port = int(sys.argv[1]), free_port()
cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 0,
        "include_dashboard": True,
        "dashboard_host": "127.0.0.1",
        "dashboard_port": dashboard_port,
        "dashboard_agent_listen_port": free_port(),
    },
)
print(cluster.address, f"http://127.0.0.1:{dashboard_port}", flush=True)
for number, line in enumerate(sys.stdin):
    dead = [n for n in cluster.worker_nodes if any(k == "raylet" for k, _ in n.dead_processes())]
    alive = [n for n in cluster.worker_nodes if n not in dead]
    for node in dead + alive[int(line) :]:
        cluster.remove_node(node, allow_graceful=False)
    while len(cluster.worker_nodes) < int(line):
        cluster.add_node(
            num_cpus=cores,
            dashboard_agent_listen_port=free_port(),
            runtime_env_dir_name=f"runtime_resources_{number}_{len(cluster.worker_nodes)}",
        )
    cluster.wait_for_nodes()
    print("ready", flush=True)
cluster.shutdown()
