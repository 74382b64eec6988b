"""What `cluster.doctor --storage` runs as a job: can every node use the storage, and its GPUs?

It stands alone: its text is the job's command, so that the nodes need nothing but Ray.
"""

import json
import os
import platform
import subprocess
import sys
import uuid

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

START_CUDA = """
try:
    import torch
except ImportError:
    raise SystemExit
torch.cuda.init()
"""


@ray.remote(num_cpus=0)
def visit(uri: str, marks: list[str], own: str) -> tuple[str, list[str]]:
    """Read the marks of the nodes before, leave one's own.

    Returns "" or what went wrong, and Python's major and minor version.
    """
    python = list(platform.python_version_tuple()[:2])
    try:
        from pyarrow import fs

        where, path = fs.FileSystem.from_uri(uri) if "://" in uri else (fs.LocalFileSystem(), uri)
        for mark in marks:
            with where.open_input_stream(f"{path}/{mark}") as file:
                assert file.read() == mark.encode()
        where.create_dir(path, recursive=True)
        with where.open_output_stream(f"{path}/{own}") as file:
            file.write(own.encode())
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], python
    return "", python


@ray.remote(num_cpus=0)
def why_no_gpu() -> str:
    """Why PyTorch, where it is installed, can't use this node's GPUs; "" if it can."""
    # From a task that asks for no GPU Ray hides them all.
    seeing = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    command = [sys.executable, "-c", START_CUDA]
    run = subprocess.run(command, env=seeing, capture_output=True, text=True)
    if run.returncode == 0:
        return ""
    return (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[-1]


@ray.remote(num_cpus=0)
def sweep(uri: str, own: str) -> None:
    """Take one's mark away again."""
    from pyarrow import fs

    where, path = fs.FileSystem.from_uri(uri) if "://" in uri else (fs.LocalFileSystem(), uri)
    where.delete_file(f"{path}/{own}")


uri = sys.argv[1]
ray.init(log_to_driver=False, logging_level="ERROR")
marks: list[str] = []
left = []  # the marks, each with the node that left it: others may not reach it
failures = {}
blind = {}
pythons = []
for node in (node for node in ray.nodes() if node["Alive"]):
    name = node["NodeManagerHostname"] + " " + node["NodeManagerAddress"]
    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    own = f".doctor-{uuid.uuid4().hex}"
    wrong, python = ray.get(visit.options(scheduling_strategy=there).remote(uri, marks, own))
    pythons.append(python)
    if wrong:
        failures[name] = wrong
    else:
        marks.append(own)
        left.append((there, own))
    if node["Resources"].get("GPU"):
        reason = ray.get(why_no_gpu.options(scheduling_strategy=there).remote())
        if reason:
            blind[name] = reason
for there, own in left:
    ray.get(sweep.options(scheduling_strategy=there).remote(uri, own))
found = {"nodes": len(pythons), "pythons": pythons, "failures": failures, "blind": blind}
print("PROBE " + json.dumps(found))
