"""Requests that no endpoint answers: 404, or 405 with the methods that would be.

The page is mounted at "/", and would answer them in its own way.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.routing import Match, Route
from starlette.types import Receive, Scope, Send

from serve_app.problems import Problem, problem_response

OURS = ("/healthz", "/readyz", "/v1", "/v1/{path:path}", "/v2", "/v2/{path:path}")


def refuse_others(api: FastAPI, *paths: str) -> None:
    """Refuse what the endpoints registered so far do not answer at these paths."""
    # An ASGI application as endpoint takes every method, also those that few have heard of.
    api.router.routes += [Route(path, Refusal(api), include_in_schema=False) for path in paths]


class Refusal:
    """ASGI application: says what the endpoints of `api` make of a request's path."""

    def __init__(self, api: FastAPI) -> None:
        self.api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        partial = [r for r in self.api.routes if r.matches(scope)[0] is Match.PARTIAL]
        allowed = sorted({method for r in partial for method in getattr(r, "methods", ())})
        if allowed:
            words = f"{path} is asked by {', '.join(allowed)}"
            answer = problem_response(Problem(405, "method_not_allowed", words), path)
            answer.headers["Allow"] = ", ".join(allowed)
        else:
            problem = Problem(404, "not_found", f"no endpoint {path}; /docs lists them")
            answer = problem_response(problem, path)
        await answer(scope, receive, send)
