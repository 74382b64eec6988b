"""Bodies that trickle in, over a real socket: given up in time, without touching the others."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from cifar_model.errors import InputError
from serve_app.slow_bodies import BODY_SECONDS, install_body_deadline, read_body_seconds

SECONDS, MOST, MOST_BYTES = 3.0, 8, 1000


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    api, page = FastAPI(), FastAPI()

    async def count(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    async def stream(request: Request) -> StreamingResponse:
        await request.body()

        def slowly() -> Iterator[bytes]:
            for _ in range(4):
                time.sleep(SECONDS / 2)
                yield b"."

        return StreamingResponse(slowly())

    for app in (api, page):
        app.post("/count")(count)
    api.post("/stream")(stream)
    api.mount("/page", page)
    install_body_deadline(api, SECONDS, MOST, MOST_BYTES)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(api, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


def post(address: tuple[str, int], path: str, pieces: list[bytes], pause: float) -> bytes:
    """The whole answer to a request whose body comes in pieces."""
    with socket.create_connection(address) as connection:
        length = sum(map(len, pieces))
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause)
        connection.settimeout(10)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


@pytest.mark.parametrize("path", ["/count", "/page/count"])
def test_a_body_that_stops_is_given_up(address, path):
    start = time.monotonic()
    with socket.create_connection(address) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc".encode()
        )
        connection.settimeout(10)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    taken = time.monotonic() - start
    print(f"\na body that stops is answered after {taken:.2f} s; allowed {SECONDS:g} s")
    assert answer.startswith(b"HTTP/1.1 408 ") and b'"code":"body_too_slow"' in answer
    assert SECONDS <= taken < SECONDS + 2


def test_a_body_in_pieces_within_the_time_is_taken(address):
    answer = post(address, "/count", [b"abc"] * 4, SECONDS / 20)
    assert answer.startswith(b"HTTP/1.1 200 ") and b'{"bytes":12}' in answer


def test_bodies_that_stop_keep_nobody_out(address):
    """More of them than are waited for at a time: the oldest make way, before they are late."""
    start = time.monotonic()
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc"
    with contextlib.ExitStack() as stack:
        stopped = []
        for _ in range(MOST + 2):
            stopped.append(stack.enter_context(socket.create_connection(address)))
            stopped[-1].sendall(head)
            time.sleep(0.02)  # so that they come in this order
        answer = post(address, "/count", [b"abc"], 0)
        assert time.monotonic() - start < SECONDS
        assert answer.startswith(b"HTTP/1.1 200 ")
        for connection in stopped:
            connection.settimeout(10)
        for connection in stopped[:2]:
            refused = connection.recv(65536)
            assert refused.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in refused
        assert stopped[-1].recv(65536).startswith(b"HTTP/1.1 408 ")


def test_of_bodies_that_are_too_much_together_the_largest_makes_way(address):
    head = b"POST /count HTTP/1.1\r\nHost: x\r\nContent-Length: 700\r\n\r\n"
    with socket.create_connection(address) as first:
        first.sendall(head + b"a" * 600)
        time.sleep(0.1)
        assert post(address, "/count", [b"b" * 300], 0).startswith(b"HTTP/1.1 200 ")
        assert post(address, "/count", [b"b" * 500], 0).startswith(b"HTTP/1.1 200 ")
        first.settimeout(10)
        refused = first.recv(65536)
        assert refused.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in refused


def test_a_body_alone_may_have_any_size(address):
    assert post(address, "/count", [b"b" * 2 * MOST_BYTES], 0).startswith(b"HTTP/1.1 200 ")


def test_an_answer_may_take_longer_than_the_body(address):
    answer = post(address, "/stream", [b"abc"], 0)
    assert answer.startswith(b"HTTP/1.1 200 ") and answer.count(b".") >= 4


def test_the_time_is_read_from_the_environment():
    assert read_body_seconds({}) == BODY_SECONDS
    assert read_body_seconds({"RAY_CIFAR_BODY_SECONDS": "2.5"}) == 2.5
    with pytest.raises(InputError, match="expected a number of seconds above 0"):
        read_body_seconds({"RAY_CIFAR_BODY_SECONDS": "soon"})
