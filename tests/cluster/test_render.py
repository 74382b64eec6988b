"""The generated files: in step with the settings, and valid by the schemas of their readers."""

import importlib
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from cluster.render import rendered
from cluster.settings import (
    AWS_IMAGE,
    IMAGE_CPU,
    IMAGE_CUDA,
    NVIDIA_DRIVER,
    RAY_ENVIRONMENT,
    RUNS_MOUNT,
    pinned,
)
from jobs.connection import RAY_SETTINGS
from serve_app.settings import SERVE_SETTINGS

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
CRDS = Path(os.environ.get("KUBERAY_CRDS", ROOT.parent / "shared" / "kuberay"))
LAUNCHER = sorted((CLUSTER / "launcher").glob("*.yaml"))
MANIFESTS = sorted((CLUSTER / "kuberay").glob("*.yaml"))


def documents(path):
    return [part for part in yaml.safe_load_all(path.read_text()) if part]


def by_group(group):
    """Manifests (file name, document) of an API group, "" for Kubernetes' own."""
    return [
        pytest.param(part, id=f"{path.stem}-{part['kind']}")
        for path in MANIFESTS
        for part in documents(path)
        if part["apiVersion"].rpartition("/")[0] in group
    ]


def closed(schema):
    """A CRD's schema with unknown fields refused, as an API server with strict validation does."""
    if isinstance(schema, dict):
        schema = {key: closed(value) for key, value in schema.items()}
        free = schema.get("x-kubernetes-preserve-unknown-fields")
        if isinstance(schema.get("properties"), dict) and "type" in schema and not free:
            schema.setdefault("additionalProperties", False)
        if schema.pop("x-kubernetes-int-or-string", False):
            schema.pop("anyOf", None)
            schema["type"] = ["integer", "string"]
        return schema
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


def test_the_files_are_what_the_templates_and_settings_give():
    for path, text in rendered().items():
        assert path.read_text() == text, f"{path.name}: run python -m cluster.render"


def test_nodes_start_with_what_jobs_and_serving_set_for_a_ray_of_their_own():
    shared = {**RAY_SETTINGS, **SERVE_SETTINGS}
    local_only = {"RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S"}
    for name in shared.keys() - local_only:
        assert RAY_ENVIRONMENT[name] == shared[name]
    assert RAY_ENVIRONMENT["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.stem)
def test_launcher_files_hold_to_the_schema_of_the_installed_ray(path):
    import ray.autoscaler

    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    [config] = documents(path)
    jsonschema.validate(config, schema)
    assert config["docker"]["image"] == IMAGE_CUDA
    types = config.get("available_node_types", {})
    gpu = {name: kind for name, kind in types.items() if kind["resources"].get("GPU")}
    assert all(kind["min_workers"] == 0 for kind in gpu.values())
    # Spot and on demand have one shape, so that either satisfies a request.
    assert len({json.dumps(kind["resources"]) for kind in gpu.values()}) <= 1
    assert len(gpu) in (0, 2)


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.stem)
def test_start_commands_set_the_environment_and_then_start_ray(path):
    [config] = documents(path)
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    starts = [shlex.split(command) for command in commands if "ray start" in command]
    assert len(starts) == 2
    for words in starts:
        settings = words[words.index("env") + 1 : words.index("ray")]
        assert dict(word.split("=", 1) for word in settings).items() >= RAY_ENVIRONMENT.items()


def test_the_image_sets_the_environment():
    text = (ROOT / "cluster" / "Dockerfile").read_text()
    (line,) = (line for line in text.splitlines() if "RAY_AUTH_MODE" in line)
    settings = dict(word.split("=", 1) for word in shlex.split(line)[1:])
    assert settings.items() >= RAY_ENVIRONMENT.items()


@pytest.mark.parametrize("path", LAUNCHER, ids=lambda path: path.stem)
def test_the_launcher_itself_takes_the_file(path):
    """Ray fills in its defaults and checks the outcome, as `ray up` does before all else."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    [config] = documents(path)
    prepared = prepare_config(config)
    validate_config(prepared)
    # Ray's own would run pip in an image whose packages its user can't change.
    assert prepared["setup_commands"] == prepared["head_setup_commands"] == []
    assert "-e NVIDIA_VISIBLE_DEVICES=all" in prepared["docker"]["run_options"]


def test_machines_of_the_clouds_start_with_an_image_that_is_named_here():
    """The one that Ray would fill in for AWS has a driver too old for the pinned PyTorch."""
    [aws] = documents(CLUSTER / "launcher" / "aws.yaml")
    [gcp] = documents(CLUSTER / "launcher" / "gcp.yaml")
    for kind in aws["available_node_types"].values():
        assert kind["node_config"]["ImageId"] == AWS_IMAGE
        [disk] = kind["node_config"]["BlockDeviceMappings"]
        assert disk["Ebs"]["VolumeSize"] >= 256
    for kind in gcp["available_node_types"].values():
        if kind["resources"].get("GPU"):
            [disk] = kind["node_config"]["disks"]
            family = disk["initializeParams"]["sourceImage"]
            assert int(family.rpartition("-nvidia-")[2]) >= NVIDIA_DRIVER
    assert int(pinned("nvidia-cuda-runtime").partition(".")[0]) == 13  # NVIDIA_DRIVER is for that


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_what_the_launcher_speaks_to_a_cloud_with_is_installed(cloud):
    """On whoever's machine starts the cluster, and in the image for the autoscaler on its head."""
    for part in ("config", "node_provider"):
        importlib.import_module(f"ray.autoscaler._private.{cloud}.{part}")


@pytest.mark.skipif(not CRDS.is_dir(), reason="no KubeRay CRDs; KUBERAY_CRDS names their folder")
@pytest.mark.parametrize("manifest", by_group({"ray.io"}))
def test_kuberay_manifests_hold_to_their_definitions(manifest):
    plural = manifest["kind"].lower() + "s"
    definition = yaml.load((CRDS / f"ray.io_{plural}.yaml").read_text(), yaml.CSafeLoader)
    [v1] = [v for v in definition["spec"]["versions"] if v["name"] == "v1"]
    schema = v1["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    jsonschema.Draft202012Validator(closed(schema)).validate(manifest)


@pytest.mark.parametrize("manifest", by_group({"", "apps"}))
def test_kubernetes_own_manifests_hold_to_its_schema(manifest):
    import kubernetes_validate

    kubernetes_validate.validate(manifest, "1.34", strict=True)


def ray_clusters():
    return [
        spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec
        for spec in (
            d["spec"] for p in MANIFESTS for d in documents(p) if "ray.io/v1" in d["apiVersion"]
        )
    ]


def pods(spec):
    groups = [spec["headGroupSpec"], *spec["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


def test_kuberay_clusters_have_tokens_autoscaling_from_none_and_no_root():
    assert len(ray_clusters()) == 4
    for spec in ray_clusters():
        assert spec["rayVersion"] == pinned("ray")
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["enableInTreeAutoscaling"] is True
        assert all(group["minReplicas"] == 0 for group in spec["workerGroupSpecs"])
        for pod in pods(spec):
            assert pod["securityContext"]["runAsNonRoot"] is True
            assert {c["image"] for c in pod["containers"]} <= {IMAGE_CPU, IMAGE_CUDA}


def test_pods_leave_the_kubelet_and_daemons_a_part_of_their_node():
    for pod in (pod for spec in ray_clusters() for pod in pods(spec)):
        [container] = pod["containers"]
        asked = container["resources"]["requests"]
        assert asked == container["resources"]["limits"]
        node = {"cpu": 8, "memory": 32} if "nvidia.com/gpu" in asked else {"cpu": 4, "memory": 16}
        assert int(asked["cpu"]) < node["cpu"]
        assert int(asked["memory"].removesuffix("Gi")) <= node["memory"] * 7 / 8


def test_a_worker_of_a_job_fits_into_a_pod():
    for name in ("rayjob-train", "rayjob-tune"):
        [job] = documents(CLUSTER / "kuberay" / f"{name}.yaml")
        words = job["spec"]["entrypoint"].split()
        [group] = job["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        [container] = group["template"]["spec"]["containers"]
        wanted = words[words.index("--cpus-per-worker") + 1]
        assert int(wanted) <= int(container["resources"]["limits"]["cpu"])


@pytest.mark.parametrize("name", ["raycluster", "rayjob-tune"])
def test_where_searches_run_all_pods_mount_the_runs(name):
    [manifest] = documents(CLUSTER / "kuberay" / f"{name}.yaml")
    [claim] = documents(CLUSTER / "kuberay" / "runs-volume.yaml")
    spec = manifest["spec"].get("rayClusterSpec") or manifest["spec"]
    for pod in pods(spec):
        [volume] = [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        [container] = pod["containers"]
        assert {"name": volume["name"], "mountPath": RUNS_MOUNT} in container["volumeMounts"]


def test_the_readme_waits_for_what_it_forwards_a_port_to():
    text = (CLUSTER / "kuberay" / "README.md").read_text()
    blocks = [part.partition("```")[0] for part in text.split("```sh\n")[1:]]
    forwarding = [block for block in blocks if "port-forward" in block]
    assert len(forwarding) == 2
    assert all("kubectl wait" in block.partition("port-forward")[0] for block in forwarding)


def test_the_served_applications_are_those_of_serve_app():
    from ray.serve.schema import ServeDeploySchema

    from serve_app.app import read_serve_config

    [service] = documents(CLUSTER / "kuberay" / "rayservice.yaml")
    config = yaml.safe_load(service["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(config)
    assert config["applications"] == read_serve_config()["applications"]
    assert config["http_options"]["host"] == "0.0.0.0"


def test_entrypoints_of_jobs_are_commands_that_exist(capsys):
    from jobs import train

    [job] = documents(CLUSTER / "kuberay" / "rayjob-train.yaml")
    words = job["spec"]["entrypoint"].split()
    assert words[:3] == ["python", "-m", "jobs.train"]
    assert train.parse(words[3:]).workers == 8


def environment(value):
    """All entries of environment lists below a value."""
    if isinstance(value, dict):
        if "name" in value and ("value" in value or "valueFrom" in value):
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from environment(inner)


def test_secrets_come_from_kubernetes_secrets():
    entries = [e for path in MANIFESTS for d in documents(path) for e in environment(d)]
    secret = [e for e in entries if "PASSWORD" in e["name"] or "TOKEN" in e["name"]]
    assert secret and all("secretKeyRef" in entry.get("valueFrom", {}) for entry in secret)
    assert not any(d["kind"] == "Secret" for path in MANIFESTS for d in documents(path))


@pytest.mark.skipif(
    shutil.which("hadolint") is None and not (ROOT / ".venv/bin/hadolint").exists(),
    reason="no hadolint",
)
def test_the_dockerfile_passes_its_linter():
    tool = shutil.which("hadolint") or str(ROOT / ".venv/bin/hadolint")
    run = subprocess.run([tool, CLUSTER / "Dockerfile"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
