"""The Grafana dashboard as data: what each panel shows. `cluster.render` writes it as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8


@dataclass(frozen=True)
class Panel:
    """One graph."""

    title: str
    unit: str  # Grafana's name of it
    expression: str  # PromQL
    legend: str


SERVING = (
    Panel("Requests", "reqps", "application:requests:rate5m", "{{application}}"),
    Panel("Errors", "percentunit", "application:errors:ratio5m", "{{application}}"),
    Panel("Latency, 95th percentile", "ms", "application:latency_ms:p95_5m", "{{application}}"),
    Panel(
        "Ongoing requests",
        "short",
        "sum by (deployment) (ray_serve_replica_processing_queries)",
        "{{deployment}}",
    ),
    Panel("Refused requests", "percentunit", "application:refused:ratio5m", "{{application}}"),
    Panel(
        "Healthy replicas",
        "short",
        "sum by (deployment) (ray_serve_deployment_replica_healthy)",
        "{{deployment}}",
    ),
)
TRAINING = (
    Panel(
        "Runs by state",
        "short",
        "sum by (ray_train_run_name, ray_train_controller_state) (ray_train_controller_state)",
        "{{ray_train_run_name}}: {{ray_train_controller_state}}",
    ),
    Panel(
        "Time on reports and checkpoints, share",
        "percentunit",
        "run:report_blocked_s:rate5m",
        "{{ray_train_run_name}}",
    ),
    Panel(
        "Starting workers, total",
        "s",
        "sum by (ray_train_run_name) (ray_train_worker_group_start_total_time_s)",
        "{{ray_train_run_name}}",
    ),
    Panel("GPU use", "percent", "avg by (ip) (ray_node_gpus_utilization)", "{{ip}}"),
    Panel("GPU memory", "decmbytes", "sum by (ip) (ray_node_gram_used)", "{{ip}}"),
    Panel("Network sent", "Bps", "sum by (ip) (ray_node_network_send_speed)", "{{ip}}"),
)
NODES = (
    Panel("CPU use", "percent", "avg by (ip) (ray_node_cpu_utilization)", "{{ip}}"),
    Panel(
        "Memory", "percentunit", "sum by (ip) (ray_node_mem_used / ray_node_mem_total)", "{{ip}}"
    ),
    Panel("Disk free", "bytes", "sum by (ip) (ray_node_disk_free)", "{{ip}}"),
)
ROWS = {"Serving": SERVING, "Training": TRAINING, "Nodes": NODES}


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": top, "w": COLUMNS * WIDTH, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place})
        top += 1
        for number, panel in enumerate(row):
            line, column = divmod(number, COLUMNS)
            place = {"x": column * WIDTH, "y": top + line * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_graph(len(panels) + 1, panel, place))
        top += -(-len(row) // COLUMNS) * HEIGHT
    return {
        "uid": "ray-cifar",
        "title": "ray-cifar: training and serving",
        "tags": ["ray"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def dashboard_json() -> str:
    """The same as the text of a file."""
    return json.dumps(dashboard(), indent=2) + "\n"


def _graph(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": "A",
                "datasource": SOURCE,
                "expr": panel.expression,
                "legendFormat": panel.legend,
            }
        ],
    }
