"""What is too many never reaches Serve; all else does, and everything until there is a bound."""

from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from serve_app import early_refusal
from serve_app.access import install_access, read_access_settings
from serve_app.admission import Occupancy
from serve_app.early_refusal import EarlyRefusal, refuse_early
from serve_app.serve_headers import middlewares

CLIENT = TestClient(EarlyRefusal(PlainTextResponse("Serve")))


@pytest.fixture(autouse=True)
def process_of_its_own(monkeypatch):
    """The process is as before at the end."""
    monkeypatch.setattr(early_refusal, "_occupancy", None)


def test_everything_is_let_in_where_nothing_is_counted():
    assert CLIENT.post("/v1/classify").text == "Serve"


def test_one_too_many_is_refused_in_the_words_and_headers_of_the_application():
    refuse_early(occupancy := Occupancy(2))
    occupancy.inside = 1
    assert CLIENT.post("/v1/classify").text == "Serve"
    occupancy.inside = 2
    for path in ("/v1/classify", "/v1/explain"):
        answer = CLIENT.post(path)
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.json()["error"]["code"] == "overloaded"
    assert CLIENT.post("/v2/models/a/infer").json()["code"] == "overloaded"
    assert CLIENT.get("/healthz").text == "Serve"


def test_who_is_one_too_many_is_told_so_with_a_key_or_without():
    install_access(api := FastAPI(), read_access_settings({"RAY_CIFAR_API_KEYS": "k" * 16}))
    asked = TestClient(EarlyRefusal(api))
    assert asked.post("/v1/classify").status_code == 401
    full = Occupancy(1)
    full.inside = 1
    refuse_early(full)
    for headers in ({}, {"X-API-Key": "k" * 16}):
        assert asked.post("/v1/classify", headers=headers).status_code == 503
    assert asked.get("/v1/models").status_code == 401


def test_the_connection_stays_though_nobody_reads_the_body(run_server):
    full = Occupancy(1)
    full.inside = 1
    refuse_early(full)
    with (
        run_server(EarlyRefusal(PlainTextResponse("Serve"))) as url,
        closing(HTTPConnection(urlsplit(url).netloc, timeout=20)) as connection,
    ):
        connection.connect()
        opened = connection.sock
        for _ in range(2):
            connection.request("POST", "/v1/classify", body=bytes(10 << 20))
            answer = connection.getresponse()
            assert answer.status == 503 and b"overloaded" in answer.read()
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"Serve"
        assert connection.sock is opened


def test_serve_is_given_it():
    assert EarlyRefusal in [middleware.cls for middleware in middlewares()]
