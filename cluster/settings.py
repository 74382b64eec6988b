"""The one place for what the cluster files share: image, versions, sizes, ports, environment.

After a change: `python -m cluster.render`. Secrets are never here: they come from the environment
or from Kubernetes secrets.
"""

from __future__ import annotations

import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROJECT = "ray-cifar"
PYTHON_VERSION = "3.11"
# The registry's part of the name is the one thing that every user of an image has to change.
IMAGE_REPOSITORY = "registry.example.com/ray-cifar"
IMAGE_TAG = "0.1.0"
IMAGE_CPU = f"{IMAGE_REPOSITORY}:{IMAGE_TAG}-cpu"
IMAGE_CUDA = f"{IMAGE_REPOSITORY}:{IMAGE_TAG}-cuda"

# CUDA 13, for which PyTorch's wheels are built, runs on drivers from this one on.
NVIDIA_DRIVER = 580

# Runs of jobs on Kubernetes: likewise each user's own bucket.
STORAGE = "s3://your-bucket/runs"
RUNS_MOUNT = "/mnt/runs"  # of the volume claim ray-cifar-runs

GCS_PORT = 6379
DASHBOARD_PORT = 8265
METRICS_PORT = 8080
SERVE_PORT = 8000

# Machines: the head only directs; GPU workers come and go.
GPU_WORKER_CPUS, GPU_WORKER_GPUS = 8, 1
# Pods get less than the machine under them has: the kubelet and daemons take their part, and beside
# a head runs the autoscaler, with half a core and 512Mi.
HEAD_POD_CPUS, HEAD_POD_MEMORY = 2, "8Gi"
GPU_POD_CPUS, GPU_POD_MEMORY = GPU_WORKER_CPUS - 1, "28Gi"
CPU_POD_CPUS, CPU_POD_MEMORY = 3, "12Gi"
CPUS_PER_GPU = GPU_POD_CPUS // GPU_WORKER_GPUS  # on Kubernetes
SPOT_WORKERS_MAX = 8
ON_DEMAND_WORKERS_MAX = 4
LAUNCHER_WORKERS_MAX = SPOT_WORKERS_MAX + ON_DEMAND_WORKERS_MAX
CPU_WORKERS_MAX = 4
IDLE_MINUTES = 10
IDLE_SECONDS = 60 * IDLE_MINUTES

AWS_REGION = "us-west-2"
AWS_HEAD, AWS_GPU_WORKER = "m6i.xlarge", "g5.2xlarge"
# Each region has its own, so each user names one: launcher/README.md says which has Docker and the
# driver. Left out, Ray takes one with a driver for CUDA 11.
AWS_IMAGE = "ami-your-own"
AWS_DISK_GB = 256  # Ray's own default; no less than the image's snapshot
GCP_REGION, GCP_ZONE = "us-central1", "us-central1-a"
GCP_HEAD, GCP_GPU_WORKER = "n2-standard-4", "g2-standard-8"
GCP_IMAGES = "projects/deeplearning-platform-release/global/images/family"
GCP_HEAD_IMAGE = f"{GCP_IMAGES}/common-cpu"
GCP_GPU_IMAGE = f"{GCP_IMAGES}/common-cu129-ubuntu-2204-nvidia-580"

# Before Ray starts, on every node: Serve's fast HTTP path, and how a stopped job ends.
RAY_ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "0",
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "131072",
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "60",
    "RAY_SERVE_HAPROXY_LOG_TARGET": "/dev/null",
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.3",
    "RAY_health_check_period_ms": "500",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve_app.serve_headers:middlewares",
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def pinned(package: str) -> str:
    """The exact version of a package in constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version
    raise KeyError(package)


def placeholders() -> dict[str, str]:
    """All that a template may name, as text."""
    values = {name: value for name, value in globals().items() if name.isupper()}
    texts = {name: str(value) for name, value in values.items() if isinstance(value, (int, str))}
    texts["RAY_VERSION"] = pinned("ray")
    texts["TORCH_VERSION"] = pinned("torch")
    texts["TORCHVISION_VERSION"] = pinned("torchvision")
    texts["RAY_EXPORTS"] = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in RAY_ENVIRONMENT.items()
    )
    return texts
