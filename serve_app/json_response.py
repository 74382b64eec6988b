"""JSON answers written at once from plain values and numpy arrays."""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response


def json_response(content: Any) -> Response:
    """The answer; FastAPI would check and copy every value of it first."""
    body = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
