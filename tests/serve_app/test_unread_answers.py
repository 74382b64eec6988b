"""Clients that ask and do not read: what is kept for them is bounded, and others are answered."""

import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import Response
from starlette.testclient import TestClient

from serve_app.serve_headers import middlewares
from serve_app.unread_answers import PIECE, UnreadAnswers

# More than the kernel keeps of a connection on both sides.
LARGE = bytes(range(256)) * (16 * 2**20 // 256)


def ask(address):
    """A connection that has asked for the answer, and read the first byte of it."""
    where = urlsplit(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((where.hostname, where.port))
    connection.settimeout(30)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert connection.recv(1) == b"H"
    return connection


def rest(connection):
    """How many bytes of the answer come yet."""
    received = 0
    with connection:
        while part := connection.recv(2**20):
            received += len(part)
    return received


def test_the_oldest_that_nobody_reads_make_way_for_the_newest(run_server):
    with run_server(UnreadAnswers(Response(LARGE), most=2 * len(LARGE))) as address:
        connections = [ask(address) for _ in range(5)]
        *given_up, one, other = map(rest, connections)
        assert all(received < len(LARGE) for received in given_up)
        assert one > len(LARGE) and other > len(LARGE)
        assert httpx.get(address, timeout=30).content == LARGE


def test_the_application_is_done_before_its_answer_is_read(run_server):
    """Else a slow reader would count as inside, and its reading as the model's time."""
    answer, done = Response(LARGE), threading.Event()

    async def application(scope, receive, send):
        await answer(scope, receive, send)
        done.set()

    with run_server(UnreadAnswers(application)) as address, ask(address) as connection:
        assert done.wait(30)
        assert rest(connection) > len(LARGE)


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_an_answer_arrives_as_it_was_sent(size):
    body = LARGE[:size]
    answer = TestClient(UnreadAnswers(Response(body))).get("/")
    assert answer.content == body and answer.headers["content-length"] == str(size)


def test_it_stands_before_serve():
    assert UnreadAnswers in [middleware.cls for middleware in middlewares()]
