"""Keys and rates, on a bare application: who gets in, who is told to wait."""

import asyncio
import base64
import itertools

import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from cifar_model.errors import InputError
from serve_app.access import (
    MAX_CALLERS,
    MOST_KEYS,
    Access,
    Buckets,
    install_access,
    read_access_settings,
)
from serve_app.replica_settings import settings_for_replicas
from serve_app.slow_bodies import read_body_seconds

KEY, OTHER = "k" * 16, "another-long-key-of-mine"


def client(**environment: str) -> TestClient:
    api = FastAPI()
    for path in ("/v1/models", "/v2", "/healthz", "/readyz", "/v2/health/live", "/page.js"):
        api.get(path)(lambda: {"ok": True})
    install_access(api, read_access_settings(environment))
    return TestClient(api)


def test_without_settings_everyone_is_let_in():
    asked = client()
    assert [asked.get("/v1/models").status_code for _ in range(50)] == [200] * 50


@pytest.mark.parametrize(
    "how",
    [
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"authorization": f"bearer {OTHER}"}},
        {"headers": {"X-API-Key": KEY}},
        {"auth": ("anyone", KEY)},
    ],
)
def test_a_key_lets_in(how):
    assert client(RAY_CIFAR_API_KEYS=f"{KEY}, {OTHER}").get("/v1/models", **how).status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(("name", "scheme"), [("x-api-key", ""), ("authorization", "Bearer ")])
def test_a_key_beyond_ascii_lets_in_however_it_is_encoded(name, scheme, encoding):
    """Without a client, which would send all of them as UTF-8."""
    key, seen = "cl\u00e9-de-la-maison-voil\u00e0", []

    async def send(message):
        seen.append(message)

    header = (name.encode(), f"{scheme}{key}".encode(encoding))
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [header]}
    settings = read_access_settings({"RAY_CIFAR_API_KEYS": key})
    asyncio.run(Access(PlainTextResponse("let in"), settings)(scope, None, send))
    assert seen[0]["status"] == 200


BASIC = "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        [("x-api-key", "of another service"), ("authorization", f"Bearer {KEY}")],
        [("authorization", "Bearer of another service"), ("x-api-key", KEY)],
        [("authorization", "Basic !!!"), ("x-api-key", KEY)],
        [("authorization", "Bearer of another service"), ("authorization", BASIC)],
        [("x-api-key", "guess"), ("x-api-key", "guess"), ("authorization", BASIC)],
    ],
)
def test_of_several_keys_one_that_is_right_lets_in(headers):
    answer = client(RAY_CIFAR_API_KEYS=KEY).get("/v1/models", headers=headers)
    assert answer.status_code == 200


def test_no_request_is_more_than_a_few_guesses():
    headers = [("x-api-key", f"guess {i}") for i in range(MOST_KEYS)] + [("x-api-key", KEY)]
    assert client(RAY_CIFAR_API_KEYS=KEY).get("/v1/models", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic \u00ff"},
        {"Authorization": KEY},
        {"X-API-Key": ""},
        {"X-API-Key": "\u00e9" * 16},
        {"Cookie": f"key={KEY}"},
    ],
)
def test_anything_else_is_refused_in_the_one_shape(headers):
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = client(RAY_CIFAR_API_KEYS=KEY).get("/v1/models", headers=sent)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert KEY not in answer.text


def test_a_key_in_the_address_does_not_count():
    assert client(RAY_CIFAR_API_KEYS=KEY).get(f"/v1/models?key={KEY}").status_code == 401


def test_a_browser_is_asked_for_the_key_as_a_password():
    answer = client(RAY_CIFAR_API_KEYS=KEY).get("/page.js")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v2/health/live"])
def test_health_needs_no_key_and_is_not_counted(path):
    asked = client(RAY_CIFAR_API_KEYS=KEY, RAY_CIFAR_RATE="0.1", RAY_CIFAR_BURST="1")
    assert [asked.get(path).status_code for _ in range(20)] == [200] * 20


def test_who_asks_too_often_is_told_when_to_come_back():
    asked = client(RAY_CIFAR_RATE="0.01", RAY_CIFAR_BURST="3")
    paths = ["/v1/models", "/v2", "/v1/models", "/v2", "/v1/models"]
    assert [asked.get(path).status_code for path in paths] == [200] * 3 + [429] * 2
    refused = asked.get("/v1/models")
    assert refused.json()["error"]["code"] == "too_many_requests"
    assert 90 <= int(refused.headers["retry-after"]) <= 100
    assert asked.get("/page.js").status_code == 200


def test_each_key_has_its_own_rate():
    asked = client(RAY_CIFAR_API_KEYS=f"{KEY},{OTHER}", RAY_CIFAR_RATE="0.01", RAY_CIFAR_BURST="1")
    answers = [
        asked.get("/v1/models", headers={"x-api-key": key}).status_code
        for key in (KEY, KEY, OTHER, OTHER)
    ]
    assert answers == [200, 429, 200, 429]


def test_guesses_at_keys_are_slowed_down():
    asked = client(RAY_CIFAR_API_KEYS=KEY, RAY_CIFAR_RATE="0.01", RAY_CIFAR_BURST="2")
    guesses = [asked.get("/page.js", headers={"x-api-key": f"guess {i}"}) for i in range(4)]
    assert [answer.status_code for answer in guesses] == [401, 401, 429, 429]
    assert asked.get("/v1/models", headers={"x-api-key": KEY}).status_code == 200


def test_addresses_that_a_trusted_proxy_names_are_told_apart_by_its_own_entry():
    asked = client(
        RAY_CIFAR_RATE="0.01", RAY_CIFAR_BURST="1", RAY_CIFAR_CLIENT_HEADER="X-Forwarded-For"
    )
    forwarded = ["10.0.0.1", "forged, 10.0.0.1", "10.0.0.2"]
    answers = [asked.get("/v1/models", headers={"x-forwarded-for": f}) for f in forwarded]
    assert [answer.status_code for answer in answers] == [200, 429, 200]


def test_tokens_come_back_at_the_rate_and_up_to_the_burst():
    buckets = Buckets(rate=10, burst=2)
    at = [buckets.wait_s(b"a", now) for now in (0.0, 0.0, 0.0, 0.1, 0.1, 100.0, 100.0, 100.0)]
    assert [wait == 0 for wait in at] == [True, True, False, True, False, True, True, False]
    assert at[2] == pytest.approx(0.1)


def test_many_callers_take_bounded_memory():
    buckets = Buckets(rate=1, burst=1)
    for number, now in zip(range(3 * MAX_CALLERS), itertools.count(0, 1e-6), strict=False):
        buckets.wait_s(b"%d" % number, now)
    assert len(buckets._filled) <= MAX_CALLERS


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"RAY_CIFAR_API_KEYS": "short"}, "fewer than 16"),
        ({"RAY_CIFAR_API_KEYS": ""}, "holds no key"),
        ({"RAY_CIFAR_API_KEYS": " , "}, "holds no key"),
        ({"RAY_CIFAR_API_KEYS_FILE": ""}, "can't be read"),
        ({"RAY_CIFAR_API_KEYS_FILE": "/nowhere"}, "can't be read"),
        ({"RAY_CIFAR_API_KEY_DIGESTS": ""}, "expected SHA-256"),
        ({"RAY_CIFAR_API_KEY_DIGESTS": "12ab"}, "expected SHA-256"),
        ({"RAY_CIFAR_API_KEYS_FILE": "/dev/null"}, "holds no key"),
        ({"RAY_CIFAR_RATE": "many"}, "expected a number above 0"),
        ({"RAY_CIFAR_RATE": "0"}, "expected a number above 0"),
        ({"RAY_CIFAR_BURST": "nan"}, "expected a number above 0"),
    ],
)
def test_settings_that_can_not_be_used_are_refused(environment, words):
    with pytest.raises(InputError, match=words):
        read_access_settings(environment)


def test_keys_come_from_a_file_too(tmp_path):
    (tmp_path / "keys").write_text(f"{OTHER}\n\n")
    asked = client(RAY_CIFAR_API_KEYS_FILE=str(tmp_path / "keys"))
    assert asked.get("/v1/models", headers={"x-api-key": OTHER}).status_code == 200
    assert asked.get("/v1/models").status_code == 401


def test_replicas_elsewhere_get_the_settings_and_of_keys_the_digests(tmp_path):
    """Whatever keys their own environment has, those given with the command are asked for."""
    (tmp_path / "keys").write_text(OTHER)
    given = {
        "RAY_CIFAR_API_KEYS": KEY,
        "RAY_CIFAR_API_KEYS_FILE": str(tmp_path / "keys"),
        "RAY_CIFAR_RATE": "0.01",
        "RAY_CIFAR_BURST": "2",
        "RAY_CIFAR_BODY_SECONDS": "5",
    }
    handed = settings_for_replicas(given)
    assert KEY not in str(handed) and OTHER not in str(handed)
    assert read_body_seconds(handed) == 5
    asked = client(**{"RAY_CIFAR_API_KEYS": "only-of-that-machine", **handed})
    answers = [
        asked.get("/v1/models", headers={"x-api-key": key}).status_code
        for key in ("only-of-that-machine", KEY, KEY, KEY, OTHER)
    ]
    assert answers == [401, 200, 200, 429, 200]
    assert settings_for_replicas({}) == {}


def test_no_key_is_kept_in_memory():
    settings = read_access_settings({"RAY_CIFAR_API_KEYS": KEY})
    assert KEY not in repr(settings) and len(settings.keys[0]) == 32
