"""Rules and dashboard, loaded by a real Prometheus and held against the installed Ray's metrics."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.dashboard import ROWS, dashboard
from jobs.free_port import free_port

DASHBOARDS = Path(__file__).parents[2] / "cluster" / "dashboards"
RULES = yaml.safe_load((DASHBOARDS / "rules.yaml").read_text())
EXPRESSIONS = [panel.expression for row in ROWS.values() for panel in row]

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="no Prometheus"
)


@needs_prometheus
def test_the_rules_fire_when_they_must():
    for words in (["check", "rules", "rules.yaml"], ["test", "rules", "rules_test.yaml"]):
        run = subprocess.run(["promtool", *words], cwd=DASHBOARDS, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr


@needs_prometheus
def test_a_prometheus_loads_the_rules_and_answers_every_panel(tmp_path):
    port = free_port()
    command = ["prometheus", f"--config.file={DASHBOARDS / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as prometheus:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
                deadline = time.monotonic() + 60
                while not is_ready(client):
                    assert prometheus.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
                loaded = client.get("/api/v1/rules").json()["data"]["groups"]
                assert {g["name"]: len(g["rules"]) for g in loaded} == {
                    g["name"]: len(g["rules"]) for g in RULES["groups"]
                }
                for expression in EXPRESSIONS:
                    answer = client.get("/api/v1/query", params={"query": expression}).json()
                    assert answer["status"] == "success", (expression, answer)
        finally:
            prometheus.terminate()


def is_ready(client):
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_every_metric_is_one_that_the_installed_ray_has_or_a_rule_records():
    import ray.dashboard.modules.metrics.dashboards as own

    known = "".join(path.read_text() for path in Path(own.__path__[0]).glob("*.py"))
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    for expression in EXPRESSIONS + [rule["expr"] for rule in rules]:
        # ray_train_run_name and its like are labels.
        labels = set(re.findall(r"\bby \(([^)]*)\)", expression))
        words = set(re.findall(r"[a-z][a-z0-9_:]*:[a-z0-9_]+|ray_[a-z0-9_]+", expression))
        names = words - {label.strip() for group in labels for label in group.split(",")}
        assert names <= recorded | set(re.findall(r"ray_[a-z0-9_]+", known)), expression


def test_the_dashboard_file_is_what_the_panels_say_and_nothing_overlaps():
    assert json.loads((DASHBOARDS / "grafana.json").read_text()) == dashboard()
    cells = [
        (x, y)
        for panel in dashboard()["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
