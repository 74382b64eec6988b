"""The headers for browsers, by kind of answer; tests/browser sees that the page works with them."""

import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.testclient import TestClient

from serve_app.security_headers import install_security_headers


@pytest.fixture(scope="module")
def asked() -> TestClient:
    api, page = FastAPI(), FastAPI()
    api.get("/v1/models")(lambda: {"ok": True})
    page.get("/", response_class=HTMLResponse)(lambda: "<html></html>")
    api.mount("/page", page)
    install_security_headers(api)
    return TestClient(api)


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("/v1/models", "default-src 'none'"),
        ("/nothing", "default-src 'none'"),
        ("/page/", "frame-ancestors 'self' https://huggingface.co"),
        ("/docs", "script-src 'self' 'unsafe-inline'; style-src"),
    ],
)
def test_every_answer_has_them(asked, path, policy):
    headers = asked.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert policy in headers["content-security-policy"]
    assert (
        "object-src 'none'" in headers["content-security-policy"]
        or "json" in headers["content-type"]
    )
