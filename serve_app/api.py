"""The HTTP endpoints, over any Backend.

Every replica runs all of them; which ones reach it is decided in front of it, by path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware import Middleware

from serve_app.access import install_access, read_access_settings
from serve_app.admission import Admission, Occupancy
from serve_app.backends import Backend
from serve_app.body_limit import limit_bodies
from serve_app.classification import add_classification
from serve_app.explanation import add_explanation
from serve_app.form_charset import FormCharset
from serve_app.models import add_models
from serve_app.open_inference import add_open_inference
from serve_app.problems import Problem, install_handlers
from serve_app.schemas import Error, Status
from serve_app.security_headers import install_security_headers
from serve_app.slow_bodies import install_body_deadline, read_body_seconds
from serve_app.unknown_paths import OURS, refuse_others
from serve_app.uploads import MAX_BODY

# The most requests in a replica, however fast it is, and all until its speed is known; see
# `admission`.
MAX_INSIDE = 256


def build_api(
    backend: Backend,
    settings: Mapping[str, str] | None = None,
    occupancy: Occupancy | None = None,
) -> FastAPI:
    """The FastAPI application; the page is mounted into it elsewhere.

    settings: they count before those of this process's environment; see `replica_settings`.
    occupancy: shared with `early_refusal` in a replica; else one of its own.
    """
    environment = {**os.environ, **(settings or {})}
    api = FastAPIOffline(
        title="Image classifier",
        version="1",
        description="Classifies pictures and shows where the evidence for its answers is.",
        middleware=[Middleware(Admission, occupancy or Occupancy(MAX_INSIDE))],
    )
    # Each wraps those before it: the headers come last, and so stand on every answer.
    install_body_deadline(api, read_body_seconds(environment))
    api.add_middleware(limit_bodies, max_bytes=MAX_BODY)
    api.add_middleware(FormCharset)
    install_access(api, read_access_settings(environment))
    install_handlers(api)
    install_security_headers(api)
    add_classification(api, backend)
    add_explanation(api, backend)
    add_models(api, backend)
    add_open_inference(api, backend)

    @api.get("/healthz", tags=["about"])
    async def healthz() -> Status:
        """200 while the server lives."""
        return Status(status="ok")

    @api.get("/readyz", responses={503: {"model": Error}}, tags=["about"])
    async def readyz() -> Status:
        """200 when a picture sent now would be answered, and fast: the default model has run.

        For /v2, which has replicas of its own, ask `/v2/health/ready`.
        """
        if not await backend.ready():
            words = "the model's replicas do not answer yet; try again"
            raise Problem(503, "not_ready", words, retry_after_s=1)
        return Status(status="ok")

    refuse_others(api, *OURS)
    return api
