"""Gradio's own routes: what can't be read is a 4xx, and nobody holds all streams."""

import asyncio
import logging
import time

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serve_app.page_guard import PageRoutes, guarded
from serve_app.uploads import MAX_BODY


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("run/classify", {"json": {"data": [None, None, 5, "predicted", "res2", None, 0.5]}}, 404),
        ("run/nothing", {"json": {"data": []}}, 404),
        ("run/js_fn", {"json": {"data": []}}, 404),
        ("api/classify", {"json": {"data": []}}, 404),
        ("call/nothing", {"json": {"data": []}}, 400),
        ("call/v2/nothing", {"json": {"data": []}}, 400),
        ("call/v2/classify", {"json": {}}, 400),
        ("queue/join", {"json": {"data": [], "fn_index": 9999, "session_hash": "x"}}, 400),
        ("upload", {"files": {"files": (None, "text")}}, 400),
        ("upload?upload_id=x", {"files": {"files": (None, "text")}}, 400),
        ("process_recording", {"files": {"video": ("a.mp4", b"x")}}, 404),
        ("component_server", {"json": {}}, 404),
        ("vibe-code", {"json": {}}, 404),
    ],
)
def test_what_the_page_can_not_do_is_no_failure_of_its_own(served, path, sent, status):
    answer = httpx.post(f"{served}/gradio_api/{path}", timeout=60, **sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"


def test_the_page_asks_no_other_server(served):
    answer = httpx.get(f"{served}/gradio_api/proxy=http://a:b", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_the_program_is_not_watched_for_anyone(served):
    for path in ("dev/reload", "startup-events"):
        assert httpx.get(f"{served}/gradio_api/{path}", timeout=60).status_code == 404


def test_what_is_nested_so_deeply_that_its_refusal_can_not_repeat_it_is_refused(served):
    for depth in range(100, 1200, 20):
        nested = "[" * depth + "]" * depth
        body = f'{{"data": [], "event_id": {nested}}}'
        kind = {"content-type": "application/json"}
        join = f"{served}/gradio_api/queue/join"
        answer = httpx.post(join, content=body, headers=kind, timeout=60)
        assert 400 <= answer.status_code < 500, (depth, answer.text[:200])


@pytest.mark.parametrize("path", ["info", "info/", "info?page=none", "info?page=none&page=x"])
def test_what_one_visitor_called_the_server_is_shown_to_no_other(served, path):
    for host in ("evil.example", "mine.example"):
        answer = httpx.get(f"{served}/gradio_api/{path}", headers={"host": host}, timeout=60)
        assert "/classify" in answer.json()["named_endpoints"]
        assert (host in answer.text, "evil.example" in answer.text) == (True, host[0] == "e")


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000])
@pytest.mark.parametrize("start", ["static", "assets", "gradio_api/file="])
def test_a_name_too_long_for_a_file_is_none(served, start, name):
    answer = httpx.get(f"{served}/{start}/{name}", timeout=60)
    assert answer.status_code in (403, 404), answer.text
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "path",
    [
        "queue/data?session_hash=nobody",
        "call/nothing/x",
        "call/classify/x",
        "call/v2/classify/x",
        "call/describe",
    ],
)
def test_there_is_no_stream_for_nobody(served, path):
    answer = httpx.get(f"{served}/gradio_api/{path}", timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_session_without_a_name_is_a_mistake_of_its_own(served):
    assert httpx.get(f"{served}/gradio_api/queue/data", timeout=60).status_code == 422


def test_an_answer_is_told_once(served):
    with httpx.Client(base_url=f"{served}/gradio_api", timeout=30) as http:
        started = http.post("/call/models", json={"data": []})
        action = f"/call/models/{started.json()['event_id']}"
        assert "event: complete" in http.get(action).text
        with http.stream("GET", action) as again:  # which may never end
            assert again.status_code == 404


def test_the_log_of_what_can_not_be_read_names_no_file_of_a_visitor(caplog):
    api = FastAPI(exception_handlers=guarded()["exception_handlers"])

    @api.get("/gradio_api/file={path:path}")
    def fail(path: str) -> None:
        raise ValueError("no such range")

    with caplog.at_level(logging.WARNING):
        answer = TestClient(api).get("/gradio_api/file=/tmp/my-cat.png")
    assert answer.status_code == 400
    assert "GET /gradio_api/file can't be read" in caplog.text and "my-cat" not in caplog.text


def test_more_streams_than_the_page_holds_are_refused_and_others_are_not():
    streaming, ended = asyncio.Event(), asyncio.Event()

    async def page(scope, receive, send):
        if "heartbeat" in scope["path"]:
            streaming.set()
            await ended.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def status(guard, path):
        seen = []

        async def send(message):
            seen.append(message)

        await guard({"type": "http", "method": "GET", "path": path, "headers": []}, None, send)
        return seen[0]["status"]

    async def check():
        guard = PageRoutes(page, most_streams=1)
        first = asyncio.create_task(status(guard, "/gradio_api/heartbeat/a"))
        await streaming.wait()
        assert await status(guard, "/gradio_api/heartbeat/b") == 503
        assert await status(guard, "/config") == 200
        ended.set()
        assert await first == 200
        assert await status(guard, "/gradio_api/heartbeat/c") == 200

    asyncio.run(check())


@pytest.mark.parametrize(
    ("picture", "status"),
    [(b"\r\n--bx", 400), (b"\r\n--bx" * 1_400_000, 400), (b"\r\n--" * 9, 200)],
    ids=["one", "megabytes", "none"],
)
def test_an_upload_with_lines_that_are_nearly_boundaries_is_refused_in_no_time(picture, status):
    app = gr.mount_gradio_app(FastAPI(), gr.Blocks(), path="/", app_kwargs=guarded())
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=b"}
    body = head + picture + b"\r\n--b--\r\n"
    start = time.process_time()
    answer = TestClient(app).post("/gradio_api/upload", content=body, headers=kind)
    assert answer.status_code == status, answer.text
    assert time.process_time() - start < 1  # of computing; a busy machine takes longer to do it


@pytest.mark.parametrize("declared", [True, False])
def test_an_upload_is_bounded_without_a_server_in_front(declared):
    """As in a Space. A field that is no file stays in memory."""
    app = gr.mount_gradio_app(FastAPI(), gr.Blocks(), path="/", app_kwargs=guarded())
    head = b'--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n'
    parts = [head, *[bytes(2**20)] * (MAX_BODY // 2**20 + 1), b"\r\n--b--\r\n"]
    kind = {"content-type": "multipart/form-data; boundary=b"}
    body = b"".join(parts) if declared else iter(parts)
    answer = TestClient(app).post("/gradio_api/upload", content=body, headers=kind)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "body_too_large"
