"""Requests that no endpoint answers: 404, or 405 with the methods that would be.

The page is mounted at "/", and would answer them in its own way.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from serve_app.problems import Problem, problem_response

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]


def refuse_others(api: FastAPI) -> None:
    """Refuse what the endpoints registered so far do not answer, at their paths and beside them."""

    @api.api_route("/healthz", methods=METHODS, include_in_schema=False)
    @api.api_route("/readyz", methods=METHODS, include_in_schema=False)
    @api.api_route("/v1/{path:path}", methods=METHODS, include_in_schema=False)
    @api.api_route("/v2", methods=METHODS, include_in_schema=False)
    @api.api_route("/v2/{path:path}", methods=METHODS, include_in_schema=False)
    async def unknown(request: Request) -> Response:
        path = request.scope["path"]
        partial = [r for r in api.routes if r.matches(request.scope)[0] is Match.PARTIAL]
        allowed = sorted({method for r in partial for method in getattr(r, "methods", ())})
        if not allowed:
            raise Problem(404, "not_found", f"no endpoint {path}; /docs lists them")
        words = f"{path} is asked by {', '.join(allowed)}"
        answer = problem_response(Problem(405, "method_not_allowed", words), path)
        answer.headers["Allow"] = ", ".join(allowed)
        return answer
