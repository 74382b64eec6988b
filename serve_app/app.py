"""Builds the Serve application: endpoints and page at `/`, over classifier and explainer replicas.

serve run serve_app.app:build model=runs/first/model
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve import Application

from cifar_model.errors import InputError
from serve_app.deployments import Classifier, Explainer

APP = "classifier"


def build(arguments: Mapping[str, Any]) -> Application:
    """The application for `model=FOLDER` (default: the built-in model).

    `cores=N` gives each model replica N cores (default 1).

    InputError for an unknown argument or a folder that holds no usable model.
    """
    unknown = set(arguments) - {"model", "cores"}
    if unknown:
        raise InputError(f"serve: unknown {', '.join(sorted(unknown))}; known: model, cores")
    cores = str(arguments.get("cores", 1))
    if not cores.isdecimal() or int(cores) < 1:
        raise InputError(f"serve: cores={cores}, expected a whole number from 1")
    from cifar_model.model_folder import BUILT_IN

    model = check_model(Path(arguments.get("model", BUILT_IN)))
    options = {"num_cpus": int(cores)}
    classifier = Classifier.options(ray_actor_options=options).bind(model, int(cores))  # type: ignore[attr-defined]
    explainer = Explainer.options(ray_actor_options=options).bind(model, int(cores))  # type: ignore[attr-defined]
    return ingress(model).bind(classifier, explainer)


def check_model(folder: Path) -> str:
    """The folder's absolute path, once its files are seen to fit together."""
    from cifar_model.model_folder import load_model

    load_model(folder)
    return str(folder.absolute())


def ingress(model: str) -> Any:
    """The deployment that takes all HTTP requests for the model in this folder."""

    def build_web() -> FastAPI:
        from serve_app.web import build_serve_web

        return build_serve_web(Path(model))

    # One replica: Gradio keeps its queue and sessions in one process. It holds a stream open for
    # each visitor, hence the many ongoing requests.
    @serve.deployment(
        name="Ingress", num_replicas=1, max_ongoing_requests=512, ray_actor_options={"num_cpus": 0}
    )
    @serve.ingress(build_web)
    class Ingress:
        """Decodes and checks pictures, asks the replicas, renders the page."""

        def __init__(self, classifier: Any, explainer: Any) -> None:
            # Bound so that Serve deploys them with this one; the app asks for them by name.
            self._replicas = (classifier, explainer)

    return Ingress
