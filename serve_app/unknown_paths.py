"""Requests that no endpoint answers: 404, or 405 with the methods that would be.

The page is mounted at "/", and would answer them in its own way.
"""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from starlette.routing import Match

from serve_app.problems import Problem, problem_response

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"]


OURS = ("/healthz", "/readyz", "/v1/{path:path}", "/v2", "/v2/{path:path}")


def refuse_others(api: FastAPI, *paths: str) -> None:
    """Refuse what the endpoints registered so far do not answer at these paths."""

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

    for path in paths:
        api.add_api_route(path, unknown, methods=METHODS, include_in_schema=False)
