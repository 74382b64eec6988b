"""Builds the Serve applications: one for each kind of request, and the page.

serve deploy --address "$RAY_ADDRESS" serve_app/config.yaml  # all four, as that file says
serve run serve_app.app:build model=runs/first/model         # page and endpoints as one application
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ray import serve
from ray.serve import Application, RunTarget
from ray.serve.config import BackpressureConfig

from cifar_model.engine import ENGINES, EngineName
from cifar_model.errors import InputError
from cifar_model.given_path import given_path
from serve_app.api import MAX_INSIDE
from serve_app.deployments import Asked, ModelServer, Page, Place
from serve_app.problems import RETRY_AFTER_S
from serve_app.replica_settings import settings_for_replicas
from serve_app.slow_bodies import MAX_ARRIVING

SERVE_CONFIG = Path(__file__).with_name("config.yaml")
CLASSIFY, EXPLAIN, INFER, PAGE = "classify", "explain", "infer", "page"
HEALTH_CHECK_S = 1.0  # a replica that died is noticed within that time, and not within Serve's 10
# One that is there but does nothing is replaced after three checks that take longer than this, and
# not than Serve's 30 s; what it had in hand, another replica then answers.
HEALTH_CHECK_TIMEOUT_S = 5.0
DEPLOYMENTS = {CLASSIFY: "Classifier", EXPLAIN: "Explainer", INFER: "Infer"}
PAGE_DEPLOYMENT = "Page"


@dataclass(frozen=True)
class Arguments:
    """What an application is built with; see config.yaml."""

    model: str
    models: str | None = None
    cores: int = 1
    replicas: int | None = None
    engine: EngineName = "auto"
    gpus: float = 0.0  # a replica's, or its share of one


def classify(arguments: Mapping[str, Any]) -> Application:
    """The application behind /v1/classify."""
    return _model_server(CLASSIFY, read_arguments(arguments), settings_for_replicas())


def explain(arguments: Mapping[str, Any]) -> Application:
    """The application behind /v1/explain."""
    return _model_server(EXPLAIN, read_arguments(arguments), settings_for_replicas())


def infer(arguments: Mapping[str, Any]) -> Application:
    """The application behind /v2, the Open Inference Protocol."""
    return _model_server(INFER, read_arguments(arguments), settings_for_replicas())


def page(arguments: Mapping[str, Any]) -> Application:
    """The application behind everything else, over the two first ones."""
    asked = Asked(dict(arguments), settings_for_replicas())
    return _page(read_arguments(arguments), *_places(), asked=asked)


def build(arguments: Mapping[str, Any]) -> Application:
    """Page and endpoints as one application, whose page's replica passes requests on.

    It needs one route only, so `serve run` can start it; several applications are faster.
    """
    wanted, asked = read_arguments(arguments), Asked(dict(arguments), settings_for_replicas())
    servers = [_model_server(name, wanted, asked.settings) for name in (CLASSIFY, EXPLAIN)]
    return _page(wanted, *servers, asked=asked)


def targets(wanted: Arguments, asked: Asked) -> list[RunTarget]:
    """All applications at their paths, as config.yaml lists them.

    asked: the settings of their replicas, and what the next `--update` starts from.
    """
    made = {name: _model_server(name, wanted, asked.settings) for name in DEPLOYMENTS}
    made[PAGE] = _page(wanted, *_places(), asked=asked)
    return [
        RunTarget(made[entry["name"]], entry["name"], entry["route_prefix"])
        for entry in read_serve_config()["applications"]
    ]


def read_arguments(arguments: Mapping[str, Any]) -> Arguments:
    """The arguments, checked; InputError for one that is unknown or can't be used."""
    known = [field.name for field in fields(Arguments)]
    unknown = set(arguments) - set(known)
    if unknown:
        raise InputError(f"serve: unknown {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    for name in ("cores", "replicas"):
        value = str(arguments.get(name, 1))
        if not value.isdecimal() or int(value) < 1:
            raise InputError(f"serve: {name}={value}, expected a whole number from 1")
    gpus = read_gpus(arguments.get("gpus", 0))
    if (engine := arguments.get("engine", "auto")) not in ENGINES:
        raise InputError(f"serve: engine={engine}, expected one of {', '.join(ENGINES)}")
    if engine == "gpu" and not gpus:
        raise InputError("serve: engine=gpu, and no GPU for a replica: expected gpus over 0")
    from cifar_model.model_folder import BUILT_IN

    folder = given_path(arguments["models"]) if arguments.get("models") else None
    if folder and not folder.is_dir():
        raise InputError(f"serve: models={arguments['models']}: no such folder")
    replicas = arguments.get("replicas")
    return Arguments(
        check_model(given_path(str(arguments.get("model") or BUILT_IN))),
        str(folder) if folder else None,
        int(arguments.get("cores", 1)),
        int(replicas) if replicas is not None else None,
        engine,
        gpus,
    )


def read_gpus(given: Any) -> float:
    """A number of GPUs that Ray can give a replica; InputError for any other."""
    try:
        gpus = float(given)
    except (TypeError, ValueError):
        gpus = -1.0
    if not (0 <= gpus < 1 or (gpus.is_integer() and gpus > 0)):
        raise InputError(f"serve: gpus={given}, expected a whole number of GPUs or a share of one")
    return gpus


def check_model(folder: Path) -> str:
    """The folder's absolute path, once its files are seen to fit together."""
    from cifar_model.model_config import read_config
    from cifar_model.weights import read_weights

    read_weights(folder, read_config(folder))
    return str(folder.absolute())


def _model_server(application: str, wanted: Arguments, settings: Mapping[str, str]) -> Application:
    name = DEPLOYMENTS[application]
    options = deployment_options(name)
    if wanted.replicas is not None:
        options.pop("autoscaling_config")
        options["num_replicas"] = wanted.replicas
    # More than are let in: what is too much, `EarlyRefusal` and `Admission` refuse in the one error
    # shape. Serve's own limit is for what arrives by handle.
    deployment = serve.deployment(ModelServer).options(
        name=name,
        max_ongoing_requests=2 * (MAX_INSIDE + MAX_ARRIVING),
        max_queued_requests=MAX_INSIDE,
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        ray_actor_options={"num_cpus": wanted.cores, "num_gpus": wanted.gpus},
        health_check_period_s=HEALTH_CHECK_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        # A new version is loaded and warmed beside the old one, which goes once it answers.
        max_surge_percent=100,
        **options,
    )
    return deployment.bind(wanted.model, wanted.models, wanted.cores, wanted.engine, settings)


def _places() -> list[Place]:
    """Where the page's replica looks for its servers, which may not be there yet."""
    return [Place(name, DEPLOYMENTS[name]) for name in (CLASSIFY, EXPLAIN)]


def _page(wanted: Arguments, classifier: Any, explainer: Any, *, asked: Asked) -> Application:
    # One replica: Gradio keeps its queue and sessions in one process. It holds a stream open for
    # each visitor, hence the many ongoing requests.
    deployment = serve.deployment(Page).options(
        name=PAGE_DEPLOYMENT,
        num_replicas=1,
        max_ongoing_requests=1024,
        max_queued_requests=256,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=HEALTH_CHECK_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        # Two of them for a moment, since importing Gradio takes seconds.
        max_surge_percent=100,
    )
    return deployment.bind(wanted.model, wanted.models, classifier, explainer, asked)


def replicas_of(wanted: Arguments) -> int:
    """Replicas of all model servers together, before any of them scales up."""
    return sum(
        wanted.replicas or deployment_options(name)["autoscaling_config"]["min_replicas"]
        for name in DEPLOYMENTS.values()
    )


def deployment_options(name: str) -> dict[str, Any]:
    """What config.yaml says of how a deployment scales."""
    for application in read_serve_config()["applications"]:
        for deployment in application.get("deployments", []):
            if deployment["name"] == name:
                return {key: value for key, value in deployment.items() if key != "name"}
    raise KeyError(name)


@cache
def read_serve_config() -> dict[str, Any]:
    """The content of config.yaml."""
    return dict(yaml.safe_load(SERVE_CONFIG.read_text(encoding="utf-8")))
