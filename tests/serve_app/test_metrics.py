"""/metrics in Prometheus' text format, over all nodes."""

import asyncio
import re
import socket
import threading
import time

import pytest

from serve_app.metrics import Shared, merge, page_of

PAGE = """# HELP ray_serve_x Things
# TYPE ray_serve_x counter
ray_serve_x{{node="{0}"}} 1.0
# HELP ray_other Not of serving
# TYPE ray_other gauge
ray_other 3.0
"""


def test_a_family_of_several_nodes_is_described_once():
    assert merge([PAGE.format("a"), PAGE.format("b")]).splitlines() == [
        "# HELP ray_serve_x Things",
        "# TYPE ray_serve_x counter",
        'ray_serve_x{node="a"} 1.0',
        'ray_serve_x{node="b"} 1.0',
    ]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n# HE", b"\n"])
def test_a_node_that_goes_while_it_is_asked_has_nothing_to_say(said):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()

        def break_off():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = threading.Thread(target=break_off)
        thread.start()
        assert page_of(f"http://{host}:{port}/metrics") == ""
        thread.join()


def test_many_who_ask_at_once_are_told_the_same():
    begun = []

    async def work():
        begun.append(len(begun))
        await asyncio.sleep(0.01)
        return f"page {begun[-1]}"

    async def ask():
        latest = Shared(work, 0.05)
        hung_up = asyncio.ensure_future(latest())
        others = [asyncio.ensure_future(latest()) for _ in range(9)]
        await asyncio.sleep(0)
        hung_up.cancel()
        pages = await asyncio.gather(*others)
        await asyncio.sleep(0.1)
        return [*pages, await latest()]

    assert asyncio.run(ask()) == ["page 0"] * 9 + ["page 1"]


def test_requests_and_batch_sizes_are_counted(over_http, png):
    """Replicas report every few seconds."""
    for _ in range(3):
        over_http.post("/v1/classify", content=png, headers={"content-type": "image/png"})
    deadline = time.monotonic() + 60
    wanted = ("ray_serve_app_batch_size_count", "ray_serve_num_http_requests", "latency_ms_bucket")
    while time.monotonic() < deadline:
        text = over_http.get("/metrics").text
        if all(name in text for name in wanted):
            break
        time.sleep(2)
    assert all(name in text for name in wanted), text[:2000]
    line = re.compile(r"^[a-zA-Z_:][\w:]*(\{.*\})? [-+\w.]+$")
    assert all(line.match(row) for row in text.splitlines() if row and row[0] != "#")
