"""A request that asks for an upgrade is answered as one that doesn't, its body read as a body."""

import socket
import time
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from serve_app.no_upgrades import NoUpgrades

BODY = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"
HEAD = b"POST /asked HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n"


async def repeat(scope, receive, send):
    """Answers with the path and the body, in brackets."""
    request = Request(scope, receive)
    words = f"[{scope['path']} {len(await request.body())}]"
    await PlainTextResponse(words)(scope, receive, send)


@pytest.fixture
def connection(run_server):
    """To that application, over the protocol of a replica."""
    with run_server(repeat, http=NoUpgrades, ws="none", lifespan="off") as address:
        where = urlsplit(address)
        with socket.create_connection((where.hostname, where.port), timeout=5) as made:
            yield made


def received(connection, until):
    """What comes, up to these bytes or the end of the connection."""
    answer = b""
    while until not in answer and (part := connection.recv(65536)):
        answer += part
    return answer


@pytest.mark.parametrize(
    "asks",
    [
        UPGRADE,
        UPGRADE.replace(b"Upgrade:", b"uPGRADE:"),
        UPGRADE.replace(b"TLS/1.2", b"websocket"),
    ],
)
@pytest.mark.parametrize("pause", [0, 0.2])
def test_the_body_is_read_and_the_connection_goes_on(connection, asks, pause):
    for _ in range(2):
        connection.sendall(HEAD % (asks, len(BODY)))
        time.sleep(pause)
        connection.sendall(BODY)
        assert b"[/asked %d]" % len(BODY) in received(connection, b"]")


def test_a_body_is_left_as_it_is(connection):
    body = b"\r\n\r\n\nUpgrade: x" * 3
    connection.sendall(HEAD % (b"", len(body)) + body)
    assert b"[/asked %d]" % len(body) in received(connection, b"]")


def test_where_the_header_comes_in_two_parts_nothing_that_follows_is_taken_for_a_request(
    connection,
):
    first, second = (HEAD % (UPGRADE, len(BODY))).split(b"Upg", 1)
    connection.sendall(first + b"Upg")
    time.sleep(0.2)
    connection.sendall(second)
    time.sleep(0.2)
    connection.sendall(BODY)
    answer = received(connection, b"smuggled")
    assert b"[/asked" in answer and b"smuggled" not in answer


def test_behind_another_request_neither(connection):
    connection.sendall(HEAD % (b"", 0) + HEAD % (UPGRADE, len(BODY)) + BODY)
    assert b"smuggled" not in received(connection, b"smuggled")
