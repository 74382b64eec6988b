"""What runs in Serve's replicas: a model server for each kind of request, and the page.

A model server answers HTTP requests itself: Serve's proxy sends them straight to it by their path,
and none crosses a second deployment. The page asks the servers by handle.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray import serve
from ray.serve import metrics
from starlette.types import ASGIApp, Receive, Scope, Send

from cifar_model.engine import EngineName
from cifar_model.errors import InputError
from cifar_model.framing import Picture
from cifar_model.predictor import Explanation, Predictor
from serve_app.admission import WAIT_S, Occupancy
from serve_app.backends import InProcess, Running
from serve_app.batching import MAX_BATCH
from serve_app.catalog import Catalog
from serve_app.early_refusal import refuse_early
from serve_app.model_files import ModelFiles, check_same, unavailable
from serve_app.no_pickle_port import keep_pickle_port_closed
from serve_app.no_upgrades import upgrade_nothing

LOG = logging.getLogger(__name__)
# Beside the default model; the one unused for longest makes way.
MODELS_IN_A_REPLICA = 4
APPEARS_WITHIN_S = 60.0


def load_served(
    catalog: Catalog, name: str, threads: int, engine: EngineName = "auto"
) -> Predictor:
    """The model of this name; InputError if its folder can't be used, or holds another."""
    predictor = Predictor.load(catalog.folders[name], engine=engine, threads=threads)
    check_same(catalog, name, predictor.config)
    return predictor


def warm_up(predictor: Predictor) -> float:
    """Run a model at its smallest and largest batch, so that no request is the first.

    Returns the seconds of a largest batch. A replica that starts after a fault has others starting
    beside it on the same cores, so no batch is run that need not be.
    """
    size = predictor.config.image_size
    batch = np.zeros((MAX_BATCH, size, size, 3), np.uint8)
    predictor.forward(batch[:1])
    predictor.explain(batch[0])
    took = []
    for _ in range(2):  # the first one also finds its memory
        started = time.perf_counter()
        predictor.forward(batch)
        took.append(time.perf_counter() - started)
    return min(took)


def waiting_limit(batch_s: float) -> int:
    """How many pictures may wait so that the last is answered in time, by the model's own speed."""
    return max(4 * MAX_BATCH, round(MAX_BATCH * WAIT_S / batch_s))


def leave_gpus_of_others() -> None:
    """A replica that was given no GPU sees none: Ray shows it all of its node."""
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


class WholePath:
    """ASGI middleware: the endpoints have their whole path, whatever prefix Serve routes here."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, "root_path": ""}, receive, send)


@serve.ingress()
class ModelServer:
    """Models and all endpoints over them.

    settings: see `replica_settings`.
    """

    def __init__(
        self,
        model: str,
        models: str | None,
        threads: int,
        engine: EngineName,
        settings: Mapping[str, str],
    ) -> None:
        keep_pickle_port_closed()
        upgrade_nothing()
        leave_gpus_of_others()
        self._catalog = Catalog(Path(model), Path(models) if models else None)
        self._threads, self._engine, self._settings = threads, engine, settings
        self._batch_sizes = metrics.Histogram(
            "serve_app_batch_size",
            description="Pictures in a forward pass",
            boundaries=[1, 2, 4, 8, 16, MAX_BATCH],
            tag_keys=("model",),
        )
        # Held apart from the others, so that it never makes way.
        self._default = self._run(self._catalog.default)
        self._files = ModelFiles(self._catalog)
        self._backend = InProcess.on_demand(self._catalog, self._find, self._files.in_order)

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        from serve_app.api import MAX_INSIDE, build_api

        occupancy = Occupancy(MAX_INSIDE)
        refuse_early(occupancy)
        return WholePath(build_api(self._backend, self._settings, occupancy))

    async def logits(
        self, squares: NDArray[np.uint8], model: str | None = None
    ) -> NDArray[np.float32]:
        """See `backends.Backend`; for the page's handle."""
        return await self._backend.logits(squares, model=model)

    async def explain(
        self, square: Picture, class_index: int | None, layer: str, method: str, model: str | None
    ) -> Explanation:
        """See `backends.Backend`; for the page's handle."""
        return await self._backend.explain(square, class_index, layer, method=method, model=model)

    async def ready(self, model: str | None = None) -> bool:
        """See `backends.Backend`: the replica exists only once its default model has run."""
        return await self._backend.ready(model)

    async def _find(self, name: str) -> Running:
        if name == self._catalog.default:
            return self._default
        if not await self._files.in_order(name):
            raise unavailable(name)
        try:
            return await self._other(f"{name}@{self._catalog.version(name)}")
        except (InputError, OSError) as error:
            # Its files have changed meanwhile.
            LOG.warning("%s", error)
            raise unavailable(name) from error

    @serve.multiplexed(max_num_models_per_replica=MODELS_IN_A_REPLICA)
    async def _other(self, name_and_version: str) -> Running:
        """A model as it is now: exported anew it has another version, and is loaded anew."""
        return await asyncio.to_thread(self._run, name_and_version.rpartition("@")[0])

    def _run(self, name: str) -> Running:
        predictor = load_served(self._catalog, name, self._threads, self._engine)
        tags = {"model": name}
        return Running(
            predictor,
            limit=waiting_limit(warm_up(predictor)),
            observe=lambda size: self._batch_sizes.observe(size, tags=tags),
        )


@dataclass(frozen=True)
class Asked:
    """What a person asked of a server; what was left out is not in it.

    arguments: of the applications; see config.yaml.
    settings: see `replica_settings`.
    """

    arguments: Mapping[str, Any]
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Place:
    """A deployment of another application."""

    application: str
    deployment: str


def await_handle(place: Place) -> Any:
    """Its handle, once the controller knows of it: applications are deployed in any order."""
    deadline = time.monotonic() + APPEARS_WITHIN_S
    while True:
        try:
            return serve.get_deployment_handle(place.deployment, place.application)
        except KeyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


@serve.ingress()
class Page:
    """The page, and all endpoints again, over the replicas of the model servers.

    classifier, explainer: their handles, or where to find them once they are deployed.
    """

    def __init__(
        self, model: str, models: str | None, classifier: Any, explainer: Any, asked: Asked
    ) -> None:
        keep_pickle_port_closed()
        upgrade_nothing()
        self._catalog, self._asked = Catalog(Path(model), Path(models) if models else None), asked
        self._handles = [
            await_handle(there) if isinstance(there, Place) else there
            for there in (classifier, explainer)
        ]

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        from serve_app.web import build_serve_web

        return build_serve_web(self._catalog, *self._handles, settings=self._asked.settings)

    async def asked(self) -> Asked:
        """For `--update`, which changes only what it is given."""
        return self._asked
