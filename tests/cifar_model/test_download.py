"""CIFAR-10 is downloaded once, checked, and never left half-written; from a real HTTP server."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cifar_model.download import ARCHIVE, fetch_cifar10
from cifar_model.errors import InputError

CONTENT = b"an archive " * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def server(tmp_path):
    """Serves one file, and counts the requests for it."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / ARCHIVE).write_bytes(CONTENT)
    requests = []

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            requests.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/{ARCHIVE}", requests
        httpd.shutdown()


def test_it_is_fetched_once(server, tmp_path):
    url, requests = server
    path = fetch_cifar10(url, MD5, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    count = len(requests)
    assert fetch_cifar10(url, MD5, tmp_path / "cache") == path
    assert len(requests) == count
    assert [p.name for p in path.parent.iterdir()] == [ARCHIVE]


def test_a_damaged_copy_in_the_cache_is_fetched_again(server, tmp_path):
    url, _ = server
    path = fetch_cifar10(url, MD5, tmp_path / "cache")
    path.write_bytes(CONTENT[:100])
    assert fetch_cifar10(url, MD5, tmp_path / "cache").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing_behind(server, tmp_path):
    url, _ = server
    with pytest.raises(InputError, match="Set CIFAR10_DIR to a copy"):
        fetch_cifar10(url, "0" * 32, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unreachable_server_is_one_clear_error(tmp_path):
    with pytest.raises(InputError, match=r"could not get http://127\.0\.0\.1:9/x"):
        fetch_cifar10("http://127.0.0.1:9/x", MD5, tmp_path / "cache")
