"""Both clients against a real HTTP server that says what it was sent."""

import json
import shutil
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from cifar_model.errors import InputError
from jobs.load import open_loop, wrk
from jobs.load.target import FORM, JPEG, Target, form, jpeg, read_bodies, write_bodies

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")


class Recorder(ThreadingHTTPServer):
    """Keeps the bodies; answers after `delay` seconds, with 503 where `refuses` says so."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen, self.delay, self.refuses = [], 0.0, lambda number: False
        self.counter = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        # A client that leaves in mid-request, as wrk does at its end, is no error here.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/classify"


class Handler(BaseHTTPRequestHandler):
    """One connection to it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.counter:
            self.server.seen.append((self.path, self.headers["Content-Type"], body))
            number = len(self.server.seen)
        time.sleep(self.server.delay)
        self.send_response(503 if self.server.refuses(number) else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@pytest.fixture
def recorder():
    server = Recorder()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def bodies(tmp_path):
    """Five bodies with every byte in them, of lengths that need more than one byte of prefix."""
    contents = [bytes(range(256)) * (i + 1) + bytes([i]) for i in range(5)]
    return write_bodies(tmp_path / "bodies", contents, JPEG, 1)


def test_bodies_come_back_from_their_file(bodies):
    assert [len(body) for body in read_bodies(bodies.path)] == [257, 513, 769, 1025, 1281]


@needs_wrk
def test_wrk_sends_all_bodies_and_counts_answers_and_errors(recorder, bodies):
    recorder.delay, recorder.refuses = 0.01, lambda number: number % 2 == 0
    found = wrk.drive(Target(recorder.url, bodies), connections=4, seconds=1)
    assert {body for _, _, body in recorder.seen} == set(read_bodies(bodies.path))
    assert {seen[:2] for seen in recorder.seen} == {("/classify", JPEG)}
    assert 20 < found.requests <= len(recorder.seen) <= found.requests + 4
    assert abs(found.errors - found.requests / 2) <= 4
    assert 1 <= found.seconds < 2
    assert 10 <= found.p50_ms <= found.p99_ms < 1000


@needs_wrk
def test_wrk_that_finds_no_server_says_so(bodies, recorder):
    recorder.shutdown()
    recorder.server_close()
    with pytest.raises(RuntimeError, match="unable to connect"):
        wrk.drive(Target(recorder.url, bodies), connections=2, seconds=1)


def test_output_without_a_result_is_an_error():
    with pytest.raises(RuntimeError, match="printed no result"):
        wrk.parse("Running 1s test @ http://127.0.0.1:1/\nunable to connect")


def test_without_wrk_one_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match="apt-get install wrk"):
        wrk.require_wrk()


def test_open_loop_keeps_its_rate_and_sends_all_bodies(recorder, bodies):
    found = open_loop.offer(Target(recorder.url, bodies), rate=100, seconds=1, seed=3)
    assert found.requests == len(recorder.seen) == len(open_loop.arrivals(100, 1, 3))
    assert {body for _, _, body in recorder.seen} == set(read_bodies(bodies.path))
    assert {seen[:2] for seen in recorder.seen} == {("/classify", JPEG)}
    assert found.errors == 0


def test_open_loop_counts_refusals_as_errors(recorder, bodies):
    recorder.refuses = lambda number: number % 4 == 0
    found = open_loop.offer(Target(recorder.url, bodies), rate=80, seconds=1, seed=0)
    assert found.errors == len(recorder.seen) // 4 > 0
    assert found.requests == len(recorder.seen)
    assert found.answered == found.requests - found.errors


def test_a_latency_counts_from_when_its_request_was_due(recorder, bodies, monkeypatch):
    """With one connection and answers slower than the rate, requests queue in the client."""
    import asyncio

    monkeypatch.setattr(open_loop, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(open_loop, "READY_CONNECTIONS", 1)
    recorder.delay = 0.05
    requests = open_loop.raw_requests(recorder.url, read_bodies(bodies.path), JPEG)
    found = asyncio.run(open_loop.generate(recorder.url, requests, 40, 1.0, seed=0))
    # 20 answers a second for 40 requests a second: the last waits for about a second.
    assert found.p99_ms > 500 and found.errors == 0
    assert found.seconds > 1.5


def test_gaps_between_arrivals_are_exponential_and_seeded():
    times = open_loop.arrivals(1000, 10, 0)
    assert times == open_loop.arrivals(1000, 10, 0) != open_loop.arrivals(1000, 10, 1)
    gaps = np.diff(times)
    assert gaps.mean() == pytest.approx(1e-3, rel=0.05)
    assert gaps.std() == pytest.approx(1e-3, rel=0.05)


def test_a_form_holds_the_files_whole(recorder):
    from starlette.datastructures import Headers
    from starlette.formparsers import MultiPartParser

    files = [jpeg(np.full((8, 8, 3), i, np.uint8)) for i in range(3)]

    async def parse():
        async def stream():
            yield form(files)

        found = await MultiPartParser(Headers({"content-type": FORM}), stream()).parse()
        return [(part.content_type, await part.read()) for part in found.getlist("file")]

    import asyncio

    assert asyncio.run(parse()) == [(JPEG, file) for file in files]


def test_results_are_json_of_their_own_process(recorder, bodies, capsys):
    arguments = [recorder.url, str(bodies.path), JPEG, "--rate", "50", "--seconds", "0.5"]
    open_loop.main(arguments)
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"requests", "seconds", "errors", "p50_ms", "p99_ms", "refused"}
