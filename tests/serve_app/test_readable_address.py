"""Requests whose own address can't be read."""

import httpx
import pytest

ACTION = {"data": [], "fn_index": 0, "session_hash": "one"}


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-host": "a:b"},
        {"x-forwarded-host": "[::1"},
        {"x-gradio-server": "http://a:b"},
        {"host": "999.999.999.999"},
    ],
)
@pytest.mark.parametrize(
    "path", ["", "config", "logout", "gradio_api/info", "gradio_api/queue/join"]
)
def test_it_is_a_400_and_nothing_is_promised(served, path, headers):
    answer = httpx.request(
        "POST" if path.endswith("join") else "GET",
        f"{served}/{path}",
        headers=headers,
        json=ACTION if path.endswith("join") else None,
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:8443, inner", "127.0.0.1:80", "[::1]:80", ""]
)
def test_hosts_that_proxies_name_are_taken(served, host):
    answer = httpx.get(f"{served}/config", headers={"x-forwarded-host": host}, timeout=60)
    assert answer.status_code == 200
    root = answer.json()["root"]
    assert root == (f"http://{host.split(',')[0].removesuffix(':80')}" if host else served)
