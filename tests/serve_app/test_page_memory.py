"""The page goes on, and keeps to its memory, whatever visitors leave in it."""

import asyncio
import json
import threading
from contextlib import contextmanager

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio.routes import file_upload_statuses
from gradio.server_messages import EstimationMessage, ProcessCompletedMessage

from serve_app import page_memory
from serve_app.page_guard import guarded
from serve_app.page_memory import LONGEST_NAME, MOST_NEWS, Inboxes, Latest, bound_memory

WAIT, SPEAK = 0, 1  # the actions of the page below


@pytest.fixture
def small_page(run_server):
    """A page of Gradio's that runs one action at a time, and what its first action waits for."""

    @contextmanager
    def started(**bounds):
        go = threading.Event()

        def wait() -> str:
            return str(go.wait(30))

        def speak() -> str:
            return "done"

        with gr.Blocks(analytics_enabled=False) as blocks:
            for action in (wait, speak):
                gr.api(action, concurrency_id="one", concurrency_limit=1)
        bound_memory(blocks._queue, **bounds)
        app = gr.mount_gradio_app(FastAPI(), blocks, path="/", ssr_mode=False)
        with run_server(app) as url, httpx.Client(base_url=f"{url}/gradio_api", timeout=30) as http:
            try:
                yield http, blocks._queue, go
            finally:
                go.set()

    return started


def join(http, session, action):
    body = {"data": [], "fn_index": action, "session_hash": session}
    return http.post("/queue/join", json=body)


def answer(http, session):
    """What the session's stream says first of the action itself."""
    with http.stream("GET", "/queue/data", params={"session_hash": session}) as stream:
        for line in stream.iter_lines():
            message = json.loads(line.removeprefix("data: ") or "{}")
            if message.get("msg") in ("process_completed", "unexpected_error"):
                return message["output"]["data"]


def test_the_queue_goes_on_although_sessions_that_wait_in_it_have_made_way(small_page):
    with small_page(most_sessions=2) as (http, queue, go):
        assert join(http, "busy", WAIT).status_code == 200
        for session in ("a", "b", "c", "d"):
            assert join(http, session, SPEAK).status_code == 200
        assert len(queue.pending_messages_per_session) == 2
        go.set()
        assert answer(http, "d") == ["done"]
        assert join(http, "late", SPEAK).status_code == 200
        assert answer(http, "late") == ["done"]


def test_who_reads_no_answers_loses_them_and_others_get_theirs(small_page):
    with small_page(most_answers=3) as (http, queue, go):
        go.set()
        for _ in range(5):
            assert join(http, "hoarder", SPEAK).status_code == 200
        assert join(http, "reader", SPEAK).status_code == 200
        assert answer(http, "reader") == ["done"]
        kept = queue.pending_messages_per_session.values()
        assert sum(inbox.answers for inbox in kept) <= 3
        assert sum(len(ids) for ids in queue.pending_event_ids_session.values()) <= 3


def test_the_session_that_leaves_most_answers_unread_makes_way():
    ids = Latest(9, set)
    inboxes = Inboxes(9, 4, ids)
    for session, count in (("a", 1), ("b", 3), ("c", 1)):
        ids[session].add("action")
        inboxes[session] = asyncio.Queue()
        for _ in range(count):
            inboxes[session].put_nowait(ProcessCompletedMessage(output={}, success=True))
    assert list(inboxes) == list(ids) == ["a", "c"]
    assert inboxes["a"].get_nowait().success and inboxes["a"].answers == 0


def test_news_of_the_queue_leave_room_for_answers():
    inbox = Inboxes(9, 4, Latest(9, set))["a"]
    for _ in range(2 * MOST_NEWS):
        inbox.put_nowait(EstimationMessage(queue_size=1))
    inbox.put_nowait(ProcessCompletedMessage(output={}, success=True))
    assert (inbox.qsize(), inbox.answers) == (MOST_NEWS + 1, 1)


def test_what_was_used_least_recently_makes_way():
    kept = Latest(2, list)
    for name in ("a", "b", "a", "c"):
        kept[name].append(name)
    assert kept == {"a": ["a", "a"], "c": ["c"]}
    assert kept.pop("a") == ["a", "a"] and kept.pop("a", None) is None and len(kept) == 1


@pytest.mark.parametrize("name", ["n" * (LONGEST_NAME + 1), "a<gradio-sep>b"])
@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("queue/join", {"json": {"data": [], "fn_index": 0, "session_hash": "NAME"}}),
        ("upload?upload_id=NAME", {"files": {"files": ("a.png", b"x")}}),
        ("upload_progress?upload_id=NAME", {}),
    ],
)
def test_a_name_of_a_session_or_of_an_upload_that_is_no_good_is_refused(served, path, how, name):
    given = json.loads(json.dumps(how.get("json")).replace("NAME", name))
    answer = httpx.request(
        "POST" if how else "GET",
        f"{served}/gradio_api/{path.replace('NAME', name)}",
        json=given,
        files=how.get("files"),
        timeout=60,
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["n" * (LONGEST_NAME + 1), "a<gradio-sep>b", "half \ud83d"])
def test_a_session_whose_name_is_refused_takes_the_place_of_no_other(name):
    def speak() -> str:
        return "done"

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.api(speak)
    bound_memory(blocks._queue)
    app = gr.mount_gradio_app(FastAPI(), blocks, path="/", app_kwargs=guarded())
    body = {"data": [], "fn_index": 0, "session_hash": name}
    kind = {"content-type": "application/json"}
    join = "/gradio_api/queue/join"
    answer = TestClient(app).post(join, content=json.dumps(body), headers=kind)
    assert answer.status_code == 400, answer.text
    assert not blocks.state_holder.session_data


def test_the_progress_of_an_upload_is_told_also_once_it_has_ended(served):
    with httpx.Client(base_url=f"{served}/gradio_api", timeout=60) as http:
        sent = http.post("/upload?upload_id=one", files={"files": ("a.png", b"x")})
        assert sent.status_code == 200
        assert '"done"' in http.get("/upload_progress?upload_id=one").text
        assert http.get("/upload_progress?upload_id=none").status_code == 404


def test_an_upload_whose_progress_is_asked_for_must_begin_sooner_than_for_gradio(monkeypatch):
    bound_memory(gr.Blocks(analytics_enabled=False)._queue)
    monkeypatch.setattr(page_memory, "BEGINS_WITHIN_S", 0)
    # Gradio itself waits for it without an end here, and 3 s in its route.
    with pytest.raises(TimeoutError):
        asyncio.run(file_upload_statuses.is_tracked("none"))
