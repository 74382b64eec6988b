"""The command-line client against running servers, good and bad ones."""

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_model.predictor import Predictor
from cifar_model.sources import load_source
from serve_app import client, images
from serve_app.access import Access, AccessSettings
from serve_app.admission import Admission, Occupancy
from serve_app.api import build_api
from serve_app.backends import InProcess
from serve_app.http_retry import retry_after_s


@pytest.fixture(params=["local_server", "served"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def folder(tmp_path):
    """Twelve digits, three of them in a folder below; and files that are none of the client's."""
    images = load_source("digits").test.images[:12]
    (tmp_path / "in" / "more").mkdir(parents=True)
    for i, image in enumerate(images):
        place = tmp_path / "in" / ("more" if i >= 9 else "") / f"{i:02}.png"
        Image.fromarray(image).save(place)
    (tmp_path / "in" / "notes.txt").write_text("not a picture")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    return tmp_path / "in"


def run(capsys, *arguments):
    """Exit status, lines on stdout, text on stderr."""
    with pytest.raises(SystemExit) as ended:
        client.main([str(a) for a in arguments])
    written = capsys.readouterr()
    return ended.value.code, written.out.splitlines(), written.err


def test_a_folders_labels_are_the_models_own_and_in_order(url, folder, capsys, digits_model):
    status, lines, errors = run(capsys, folder, "--url", url)
    own = Predictor.load(digits_model).probabilities(load_source("digits").test.images[:12])
    names = [f"{i:02}.png" for i in range(9)] + [f"more/{i:02}.png" for i in range(9, 12)]
    assert (status, errors) == (0, "")
    assert [line.split("\t")[0] for line in lines] == [str(folder / name) for name in names]
    for line, row in zip(lines, own, strict=True):
        label, probability = line.split("\t")[1].split()
        assert label == str(row.argmax())
        assert float(probability) == pytest.approx(row.max(), abs=0.002)


def test_errors_are_reported_in_place_and_the_others_go_on(local_server, folder, capsys):
    (folder / "04.png").write_bytes(b"not a picture")
    missing = folder / "missing.png"
    arguments = (folder, missing, "--url", local_server, "--json", "--concurrency", "3")
    status, lines, errors = run(capsys, *arguments)
    results = [json.loads(line) for line in lines]
    assert status == 1 and "2 of 13 pictures failed" in errors
    assert [i for i, r in enumerate(results) if "error" in r] == [4, 12]
    assert results[4]["error"]["code"] == "unsupported_image"
    assert results[12] == {
        "path": str(missing), "error": {"code": "file", "message": "No such file or directory"}
    }  # fmt: skip
    assert all(len(r["predictions"]) == 1 for r in results if "error" not in r)
    status, lines, errors = run(capsys, folder, "--url", local_server)
    assert (status, len(lines)) == (1, 11) and f"{folder / '04.png'}: " in errors


def test_top_k_threshold_and_model_are_passed_on(local_server, folder, capsys):
    picture = folder / "00.png"
    _, (line,), _ = run(capsys, picture, "--url", local_server, "--top-k", 3)
    assert len(line.split("\t")) == 4
    _, (line,), _ = run(capsys, picture, "--url", local_server, "--threshold", 1)
    assert line == f"{picture}\t-"
    status, lines, errors = run(capsys, picture, "--url", local_server, "--model", "another")
    assert (status, lines) == (1, []) and "no model 'another'" in errors


def test_overlays_are_laid_out_like_the_pictures_and_never_replaced(
    local_server, folder, tmp_path, capsys
):
    out = tmp_path / "out"
    status, lines, _ = run(capsys, folder, "--url", local_server, "--explain", out, "--json")
    assert status == 0
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*.png"))
    assert files == sorted(str(p.relative_to(folder)) + ".png" for p in folder.rglob("[0-9]*.png"))
    assert Image.open(json.loads(lines[0])["overlay"]).size == (32, 32)
    status, lines, errors = run(capsys, folder, "--url", local_server, "--explain", out)
    assert (status, lines) == (2, []) and "exists already" in errors


def test_overlays_stay_in_their_folder_however_the_pictures_are_named(
    local_server, folder, tmp_path, capsys
):
    out = tmp_path / "out"
    (tmp_path / "elsewhere").symlink_to(folder / "more")
    names = ("in/more/../00.png", "in/01.png", "in/more/../01.png", "elsewhere/09.png")
    paths = [tmp_path / name for name in names]
    status, lines, _ = run(capsys, *paths, "--url", local_server, "--explain", out)
    assert (status, len(lines)) == (0, 3)
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png.png")}
    assert files == {"out/00.png.png", "out/01.png.png", "out/more/09.png.png"}


def test_a_file_may_have_a_name_that_is_no_text(local_server, folder, capsysbinary):
    path = (folder / "00.png").rename(folder / os.fsdecode(b"\xff.png"))
    with pytest.raises(SystemExit) as ended:
        client.main([str(path), "--url", local_server])
    assert ended.value.code == 0
    assert capsysbinary.readouterr().out.startswith(os.fsencode(path) + b"\t")


def test_a_busy_server_is_asked_again_when_it_says(run_server, digits_model, folder, capsys):
    api = build_api(InProcess({"digits": Predictor.load(digits_model)}))
    busy = Admission(api, Occupancy(0))
    with run_server(busy) as address:
        threading.Timer(1.5, lambda: setattr(busy.occupancy, "limit", 256)).start()
        started = time.monotonic()
        status, lines, _ = run(capsys, folder, "--url", address)
        assert (status, len(lines)) == (0, 12)
        assert time.monotonic() - started >= 1.5


def test_a_key_is_sent_and_a_rate_waited_for(run_server, digits_model, folder, capsys, monkeypatch):
    api = build_api(InProcess({"digits": Predictor.load(digits_model)}))
    key = "a key of sixteen charact\u00e8res"
    settings = AccessSettings((hashlib.sha256(key.encode()).digest(),), rate=10.0, burst=6.0)
    with run_server(Access(api, settings)) as address:
        status, lines, errors = run(capsys, folder / "00.png", "--url", address)
        assert (status, lines) == (1, []) and "a key is needed" in errors
        monkeypatch.setenv("RAY_CIFAR_API_KEY", key)
        status, lines, _ = run(capsys, folder, "--url", address)
        assert (status, len(lines)) == (0, 12)


class CutsConnections:
    """A TCP relay that closes the first `cuts` connections which ask for /v1/classify."""

    def __init__(self, url, cuts):
        host, port = url.removeprefix("http://").split(":")
        self.behind, self.cuts, self.cut = (host, int(port)), cuts, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self.listener.getsockname())
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.relay, args=(near,), daemon=True).start()

    def relay(self, near):
        with near, socket.create_connection(self.behind) as far:
            threading.Thread(target=self.back, args=(far, near), daemon=True).start()
            while data := near.recv(65536):
                if b"/v1/classify" in data and self.cut < self.cuts:
                    self.cut += 1
                    near.shutdown(socket.SHUT_RDWR)
                    return
                far.sendall(data)

    def back(self, far, near):
        try:
            while data := far.recv(65536):
                near.sendall(data)
        except OSError:
            pass


@pytest.mark.parametrize(("cuts", "status"), [(1, 0), (2, 1)])
def test_a_lost_connection_is_tried_once_more(local_server, folder, capsys, cuts, status):
    relay = CutsConnections(local_server, cuts)
    with relay.listener:
        found, lines, errors = run(capsys, folder / "00.png", "--url", relay.url)
    assert (found, relay.cut) == (status, cuts)
    assert len(lines) == 1 - status
    assert ("the connection failed twice" in errors) == bool(status)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "127.0.0.1:8000", "http://[", "ftp://x"])
def test_no_server_is_one_line(address, folder, capsys):
    status, lines, errors = run(capsys, folder, "--url", address)
    assert (status, lines) == (2, [])
    assert len(errors.splitlines()) == 1 and errors.startswith("client: ")


def test_a_folder_without_pictures_is_one_line(tmp_path, capsys):
    status, _, errors = run(capsys, tmp_path)
    assert status == 2 and "no pictures" in errors


@pytest.mark.parametrize(
    "option", [("--top-k", "0"), ("--threshold", "1.5"), ("--concurrency", "0")]
)
def test_options_out_of_range_are_refused(tmp_path, capsys, option):
    status, _, errors = run(capsys, tmp_path, *option)
    assert status == 2 and option[0] in errors


def test_whoever_reads_the_lines_may_leave(local_server, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(buffer, "PNG")
    for i in range(60):
        (tmp_path / f"{i:02}.png").write_bytes(buffer.getvalue())
    command = [sys.executable, "-m", "serve_app.client", tmp_path, "--url", local_server]
    with subprocess.Popen(
        [*command, "--concurrency", "1"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline().startswith(str(tmp_path / "00.png"))
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 0


def test_a_file_larger_than_a_server_takes_is_that_pictures_error_and_is_not_read(
    local_server, folder, capsys
):
    assert client.MAX_BYTES == images.MAX_BYTES
    with (folder / "04.png").open("wb") as file:
        file.truncate(2**36)  # of which the disk holds nothing
    status, lines, errors = run(capsys, folder, "--url", local_server)
    assert (status, len(lines)) == (1, 11)
    assert f"{folder / '04.png'}: the file has 68,719,476,736 bytes" in errors


class Hangs(BaseHTTPRequestHandler):
    """Of a server that lives, and answers no picture."""

    asked, ended = threading.Event(), threading.Event()

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        self.asked.set()
        self.ended.wait()

    def log_message(self, *_):
        pass


def test_ctrl_c_ends_it_at_once_though_the_server_hangs(folder):
    with ThreadingHTTPServer(("127.0.0.1", 0), Hangs) as server:
        threading.Thread(target=server.serve_forever).start()
        url = "http://{}:{}".format(*server.server_address)
        command = [sys.executable, "-m", "serve_app.client", folder, "--url", url]
        root = Path(__file__).parents[2]
        with subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert Hangs.asked.wait(60)
                process.send_signal(signal.SIGINT)
                assert process.communicate(timeout=10)[1] == "client: interrupted\n"
            finally:
                Hangs.ended.set()
                server.shutdown()
                process.kill()
        assert process.returncode == 130


def test_results_keep_their_order_and_no_more_than_asked_run_at_once():
    running, most, lock = 0, 0, threading.Lock()

    def work(picture):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.2 if picture.path.name == "0" else 0.01)
        with lock:
            running -= 1
        return {"path": picture.path.name}

    pictures = [client.ToSend(Path(str(i))) for i in range(40)]
    results = list(client.in_order(work, pictures, 3))
    assert [r["path"] for r in results] == [str(i) for i in range(40)]
    assert most == 3


def test_retry_after_is_seconds_or_a_date():
    assert retry_after_s("3") == 3
    assert retry_after_s(None) == retry_after_s("soon") == 1
    assert retry_after_s("0") == 0.1
    assert retry_after_s(formatdate(time.time() + 10, usegmt=True)) == pytest.approx(10, abs=2)
    assert retry_after_s(formatdate(time.time() - 10, usegmt=True)) == 0.1
