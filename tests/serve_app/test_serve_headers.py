"""Headers that nobody acts upon: a client's deadline, cookies, origins and ranges."""

import re
import time

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from serve_app.page_guard import guarded
from serve_app.serve_headers import PlainHeaders

# Python takes the square of its length to read it.
COOKIE = {"cookie": 'a="' + r"\"" * 30_000 + '"'}
PLAIN = {"cookie": 'a="' + "aa" * 30_000 + '"'}  # of the same length, and read at once
SITE, FOREIGN = "page.example", "http://other.example"


async def heard(scope, receive, send):
    """An application that answers with the names of the headers that it got."""
    await JSONResponse(sorted(Headers(scope=scope)))(scope, receive, send)


def test_what_nobody_acts_upon_is_taken_out_and_all_else_stays():
    unheard = ("cookie", "origin", "range", "x-request-timeout-seconds", "x_request_id")
    sent = [(name, "é" * 9) for name in unheard] + [("accept", "a"), ("x-request-id", "one")]
    encoded = [(name.encode(), value.encode()) for name, value in sent]
    answer = TestClient(PlainHeaders(heard)).get("/", headers=encoded)
    assert not set(unheard) & set(answer.json())
    assert {"accept", "host", "x-request-id"} <= set(answer.json())


def test_the_page_of_a_space_reads_no_cookies_either():
    app = gr.mount_gradio_app(FastAPI(), gr.Blocks(), path="/", app_kwargs=guarded())
    start = time.process_time()
    assert TestClient(app).get("/gradio_api/app_id", headers=COOKIE).status_code == 200
    assert time.process_time() - start < 1  # of computing; a busy machine takes longer to do it


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v2", "/config"])
def test_a_cookie_of_quotes_holds_up_nobody(served, path):
    def seconds(cookie):
        answer = httpx.get(served + path, headers=cookie, timeout=60)
        assert answer.status_code == 200
        return answer.elapsed.total_seconds()

    # Read, it takes seconds, a thousand times as long; turn about, both meet a busy machine.
    turns = [(seconds(COOKIE), seconds(PLAIN)) for _ in range(3)]
    quotes, plain = map(min, zip(*turns, strict=True))
    assert quotes < 100 * plain


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/v1/models"])
def test_scripts_of_other_sites_read_nothing(served, path):
    for origin in (FOREIGN, f"http://{SITE}", "null"):
        answer = httpx.get(served + path, headers={"host": SITE, "origin": origin}, timeout=60)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_nor_are_they_promised_to_be_let_in(served):
    asked = {"origin": FOREIGN, "host": SITE, "access-control-request-method": "POST"}
    for path in ("/gradio_api/queue/join", "/v1/classify"):
        answer = httpx.options(served + path, headers=asked, timeout=60)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("asked", ["bytes=0-3", "bytes=5-2", "bytes=0-1,3-4"])
def test_a_file_is_sent_whole_and_says_nothing_of_the_request(served, asked):
    with httpx.Client(base_url=served, timeout=60) as http:
        sent = http.post("/gradio_api/upload", files={"files": ("a.png", b"0123456789")})
        headers = {"range": asked, "x-mine": "secret"}
        answer = http.get(f"/gradio_api/file={sent.json()[0]}", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"0123456789")
    assert "x-mine" not in answer.headers


def test_no_part_of_a_script_is_compressed_by_itself(served):
    with httpx.Client(base_url=served, timeout=60) as http:
        script = re.search(r"assets/[\w.-]+\.js", http.get("/").text)[0]
        headers = {"range": "bytes=0-999", "accept-encoding": "br"}
        answer = http.get(f"/{script}", headers=headers)
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "br")
