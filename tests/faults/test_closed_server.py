"""A server of its own with keys, a rate and short deadlines: what gets through, where it listens.

Those that wait for a deadline are left to `make faults`.

The deadlines are shorter than the default ones so that the tests are; the ways are the same.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from cifar_model.model_folder import BUILT_IN
from tests.faults.bad_pictures import cases
from tests.faults.server import PROXY, REPLICA, Server

KEY = "a-key-of-some-length"
BODY_S, CLIENT_S = 3, 5
PNG = {"content-type": "image/png"}
PICTURE = cases()["1x1"].data
HERE = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    settings = {
        "RAY_CIFAR_API_KEYS": KEY,
        "RAY_CIFAR_RATE": "20",
        "RAY_CIFAR_BURST": "40",
        "RAY_CIFAR_BODY_SECONDS": str(BODY_S),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT_S),
    }
    server = Server("--replicas", "1", "--cores", "1", environment=settings)
    yield server
    server.stop()


def post(server: Server, path: str, **headers: str) -> httpx.Response:
    url = server.address + path
    return httpx.post(url, content=PICTURE, headers={**PNG, **headers}, timeout=30)


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/explain"])
def test_endpoints_ask_for_a_key(server, path):
    refused = post(server, path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert post(server, path, authorization=f"Bearer {KEY}").status_code == 200
    time.sleep(0.2)
    assert post(server, path, **{"x-api-key": KEY}).status_code == 200


def test_the_page_asks_for_it_as_a_password(server):
    refused = httpx.get(server.address + "/")
    assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic")
    assert "Image classifier" in httpx.get(server.address + "/", auth=("me", KEY)).text
    assert httpx.post(server.address + "/gradio_api/queue/join", json={}).status_code == 401


def test_health_is_open(server):
    for path in ("/healthz", "/readyz", "/v2/health/live"):
        assert httpx.get(server.address + path).status_code == 200, path


def test_a_hundred_requests_at_once_are_more_than_the_rate(server):
    time.sleep(2)  # the bucket fills again
    headers = {**PNG, "x-api-key": KEY}
    with httpx.Client(base_url=server.address, headers=headers, timeout=30) as client:
        answers = [client.post("/v1/classify", content=b"no picture") for _ in range(150)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {415, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    time.sleep(2)


def test_guesses_at_the_key_are_counted_whoever_they_say_they_come_from(server):
    time.sleep(2)
    with httpx.Client(base_url=server.address, headers={"x-api-key": "a" * 20}) as client:
        headers = [
            {"x-forwarded-for": f"10.0.0.{i}", "x-real-ip": f"10.0.0.{i}"} for i in range(150)
        ]
        answers = [client.get("/v1/models", headers=each).status_code for each in headers]
    assert set(answers) == {401, 429}
    time.sleep(2)


def trickle(server: Server, head: str, pause: float, most: float) -> tuple[bytes, float]:
    """The answer to a request that comes a byte at a time, and when it came."""
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode())
        connection.settimeout(pause)
        while time.monotonic() - start < most:
            try:
                answer, taken = connection.recv(65536), time.monotonic() - start
                connection.settimeout(10)
                while not answer.endswith(b"}") and (more := connection.recv(65536)):
                    answer += more
                return answer, taken
            except TimeoutError:
                connection.sendall(b"x")
    raise AssertionError(f"no answer within {most:g} s")


@pytest.mark.faults
@pytest.mark.parametrize("path", ["/v1/classify", "/gradio_api/upload"])
def test_a_trickling_body_is_cut_off(server, path):
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 5000\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    answer, taken = trickle(server, head, 0.2, 30)
    print(f"\n{path}: a byte every 0.2 s is answered {answer[:12]!r} after {taken:.1f} s")
    assert answer.startswith(b"HTTP/1.1 408 ") and b"body_too_slow" in answer
    assert BODY_S <= taken < BODY_S + 5


@pytest.mark.faults
def test_headers_that_stop_are_cut_off_by_the_proxy(server):
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: x\r\nX-Sl")
        answer = connection.recv(65536)
    taken = time.monotonic() - start
    print(f"\nheaders that stop are answered {answer[:12]!r} after {taken:.1f} s")
    assert not answer or answer.startswith(b"HTTP/1.1 408 ")
    assert CLIENT_S - 1 <= taken < CLIENT_S + 5


@pytest.mark.faults
def test_a_stream_outlives_the_proxys_deadline_for_clients(server):
    """The page holds one open, on which the visitor sends nothing."""
    start = time.monotonic()
    url = f"{server.address}/gradio_api/heartbeat/anyone"
    with httpx.stream("GET", url, auth=("me", KEY), timeout=60) as stream:
        assert stream.status_code == 200
        for _ in stream.iter_bytes():
            if time.monotonic() - start > 3 * CLIENT_S:
                break
    print(f"\na stream was open for {time.monotonic() - start:.1f} s")
    assert time.monotonic() - start > 3 * CLIENT_S


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    return {
        (c.laddr.ip, c.laddr.port)
        for c in process.net_connections("tcp")
        if c.status == psutil.CONN_LISTEN
    }


def test_it_listens_on_this_machine_only(server):
    """Its own port, and all of Ray's; but for two of HAProxy's, which SECURITY.md names."""
    proxy = set().union(*map(listening, server.processes(PROXY)))
    replicas, rays = server.processes(REPLICA.format("")), server.processes("ray::")
    rays += [p for name in ("gcs_server", "raylet") for p in server.processes(name)]
    behind = set().union(*map(listening, rays))
    print(f"\nproxy: {sorted(proxy)}; Ray: {sorted(behind)}")
    assert ("127.0.0.1", server.port) in proxy
    assert sum(ip != "127.0.0.1" for ip, _ in proxy) == 2
    assert len(rays) > len(replicas) > 3 and {ip for ip, _ in behind} <= HERE


def test_a_replica_opens_its_http_port_and_its_workers_and_no_other(server):
    """Serve's own, between deployments, would unpickle whatever comes."""
    for replica in server.processes(REPLICA.format("")):
        assert len(listening(replica)) == 2, replica


def test_an_update_that_names_no_keys_keeps_them(server):
    """And the rate; it starts new replicas of every kind."""
    bare = {k: v for k, v in server.environment.items() if not k.startswith("RAY_CIFAR_")}
    run = server.update("--model", str(BUILT_IN), environment=bare)
    assert run.returncode == 0, run.stdout + run.stderr
    for path in ("/v1/classify", "/v1/explain"):
        assert post(server, path).status_code == 401, path
        assert post(server, path, authorization=f"Bearer {KEY}").status_code == 200, path
    for path in ("/", "/v1/models", "/v2", "/metrics"):
        assert httpx.get(server.address + path).status_code == 401, path
