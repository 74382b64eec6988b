"""Through the page no file of the server is read, and no URL is fetched for anyone."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from PIL import Image

from serve_app.no_fetching import REFUSAL

CLASSIFY = "/gradio_api/call/classify"
# Gradio's refusal of a file, whose words the page keeps for the log.
REFUSED = 'event: error\ndata: {"error": null}\n\n'


@pytest.fixture(scope="module")
def http(served: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served, timeout=60) as client:
        yield client


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.png"
    path.write_bytes(b"root:secret")
    return path


class Listener:
    """Counts who connects to it."""

    def __init__(self) -> None:
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._count)
        self._thread.start()

    def _count(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(4) == b"stop":
                    return
                self.connections += 1
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")

    def close(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            connection.sendall(b"stop")
        self._thread.join()
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    found = Listener()
    yield found
    found.close()


def test_the_listener_hears(listener):
    assert httpx.get(f"http://127.0.0.1:{listener.port}").text == "secret"
    assert listener.connections == 1


@pytest.mark.parametrize("start", ["/gradio_api/file=", "/gradio_api/file/", "/file=", "/static/",
                                   "/assets/", "/gradio_api/custom_component/"])  # fmt: skip
def test_no_file_of_the_server_is_handed_out(http, digits_model, secret, start):
    here = Path(__file__).resolve()
    for path in (Path("/etc/passwd"), Path("/proc/self/environ"), here, secret,
                 digits_model / "config.json", digits_model / "model.safetensors"):  # fmt: skip
        climb = os.path.relpath(path, Path.cwd())
        for given in (str(path), "../" * 12 + str(path)[1:], climb, f"file://{path}"):
            for written in (given, quote(given, safe=""), given.replace("../", "%2e%2e/")):
                answer = http.get(start + written)
                assert answer.status_code >= 400 or "<title>" in answer.text, written
                assert answer.status_code < 500, written
                assert path.read_bytes()[:20] not in answer.content, written


def ask(http: httpx.Client, picture: dict[str, object]) -> str:
    """What the page answers to a call whose picture is this, as it stands."""
    data = [picture, None, 5, "predicted", "res2", None, 0.5]
    started = http.post(CLASSIFY, json={"data": data})
    if started.status_code != 200:
        assert started.status_code < 500, started.text
        return started.text
    return http.get(f"{CLASSIFY}/{started.json()['event_id']}").text


def call(http: httpx.Client, file: dict[str, object]) -> str:
    """What the page answers to a call whose picture is this file, as Gradio's clients say it."""
    return ask(http, {"meta": {"_type": "gradio.FileData"}, **file})


@pytest.mark.parametrize("more", [{}, {"is_stream": True}, {"url": "/gradio_api/file=x"}])
def test_a_file_that_was_not_uploaded_is_not_read(http, digits_model, secret, more):
    for path in (Path("/etc/passwd"), secret, digits_model / "config.json"):
        for given in (str(path), f"/tmp/gradio/../..{path}"):
            assert call(http, {"path": given, **more}) == REFUSED, given


@pytest.mark.parametrize("meta", [{}, {"meta": None}, {"meta": {"_type": "gradio.FileData"}}])
def test_nor_a_picture_that_was_not_uploaded(http, tmp_path, meta):
    """Nor does an answer tell whether there is one, and nothing waits for a pipe."""
    picture, pipe = tmp_path / "picture.png", tmp_path / "pipe.png"
    Image.new("RGB", (32, 32), "white").save(picture)
    os.mkfifo(pipe)
    climb = os.path.relpath(picture, Path.cwd())
    answers = set()
    for given in (str(picture), climb, str(tmp_path / "none.png"), str(pipe), str(tmp_path)):
        answer = ask(http, {"path": given, **meta})
        assert "event: error" in answer and '"label"' not in answer, (given, answer)
        answers.add(answer.replace(given, "GIVEN"))
    if not meta.get("meta"):
        assert len(answers) == 1


def test_what_a_failed_request_named_is_copied_nowhere(http, secret):
    """Gradio's own session link would show where, and its file route hand it out."""
    name = f"{secret.parent.name}-{secret.name}"
    renamed = secret.rename(secret.with_name(name))
    call(http, {"path": str(renamed)})
    assert http.get("/gradio_api/deep_link?session_hash=x").status_code == 404
    assert not list(Path(tempfile.gettempdir()).glob(f"ray-cifar-page-*/*/{name}"))


def test_what_an_action_is_given_is_bounded(http):
    body = {"data": ["x" * 70_000], "session_hash": "s", "fn_index": 0}
    for path in ("/gradio_api/queue/join", "/gradio_api/call/describe"):
        assert http.post(path, json=body).status_code == 413, path


def addresses(port: int) -> list[str]:
    return [
        f"http://127.0.0.1:{port}/a.png",
        f"http://localhost:{port}/a.png",
        f"http://2130706433:{port}/a.png",
        f"http://[::ffff:127.0.0.1]:{port}/a.png",
        f"HTTP://127.1:{port}/a.png",
        # A public address; and hosts that Gradio trusts.
        "http://192.0.2.1/a.png",
        "https://example.com/a.png",
        "https://huggingface.co/a.png",
    ]


@pytest.mark.parametrize("number", range(len(addresses(0))))
def test_no_url_is_fetched(http, listener, number):
    url = addresses(listener.port)[number]
    for file in ({"path": url}, {"path": "a.png", "url": url}, {"path": url, "url": url},
                 {"path": url, "is_stream": True}):  # fmt: skip
        answer = call(http, file)
        assert answer.startswith("event: error\n") and "secret" not in answer, (file, answer)
    for start in ("/gradio_api/file=", "/gradio_api/file/", "/gradio_api/proxy="):
        answer = http.get(start + url)
        assert 400 <= answer.status_code < 500 or "<title>" in answer.text, answer.text
        assert "secret" not in answer.text
    assert listener.connections == 0


def test_urls_are_refused_before_their_names_are_resolved(http):
    """Gradio itself would refuse a private address only; this refusal is ours, for any."""
    for url in ("https://example.com/a.png", "https://huggingface.co/a.png"):
        assert REFUSAL in call(http, {"path": url})
    assert http.get("/gradio_api/file=https://example.com/a.png").status_code == 403
