"""Classify pictures on a running server: a line for each, in the order given, as the answers come.

python -m serve_app.client PATH... [--url http://127.0.0.1:8000] [--json] [--explain DIR]

RAY_CIFAR_API_KEY  a key to send, where the server asks for one
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import httpx
from tqdm import tqdm

from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import write_whole
from serve_app.http_retry import ask

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Of a picture, as in `images`, which would import more than a client needs.
MAX_BYTES = 10 * 2**20
# Answers that may wait for a slower one before them, for each request under way.
AHEAD = 8
BYTES = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class ToSend:
    """A file to send, and where its overlay goes."""

    path: Path
    overlay: Path | None = None


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; exit status 1 if any picture failed."""
    parser = argparse.ArgumentParser(
        prog="python -m serve_app.client",
        description="Classify pictures on a running server. A line for each on stdout, in the "
        "order given; errors and a progress bar on stderr. RAY_CIFAR_API_KEY is the key, where the "
        "server asks for one.",
    )
    add = parser.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help="a picture, or a folder of them")
    add("--url", default="http://127.0.0.1:8000", help="(default: http://127.0.0.1:8000)")
    add("--model", help="name of a served model (default: the server's first)")
    add("--top-k", type=int, default=1, help="classes to name, 1 to 1000 (default: 1)")
    add("--threshold", type=float, default=0.0, help="least probability to name a class at, 0..1")
    add("--explain", type=Path, metavar="DIR", help="write a Grad-CAM overlay of each into DIR")
    add("--json", action="store_true", help="a JSON object for each, errors among them")
    add("--concurrency", type=int, default=8, help="requests at a time, 1 to 64 (default: 8)")
    options = parser.parse_args(arguments)
    if not 1 <= options.top_k <= 1000:
        parser.error(f"--top-k {options.top_k}: expected 1 to 1000")
    if not 0 <= options.threshold <= 1:
        parser.error(f"--threshold {options.threshold}: expected 0 to 1")
    if not 1 <= options.concurrency <= 64:
        parser.error(f"--concurrency {options.concurrency}: expected 1 to 64")
    with one_line_errors("client"):
        try:
            failed = run(options)
        except BrokenPipeError:  # whoever reads the lines has enough of them
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            failed = 0
    raise SystemExit(1 if failed else 0)


def run(options: argparse.Namespace) -> int:
    """Print a line for each picture; how many failed. InputError if there is nothing to do."""
    pictures = find_pictures(options.paths, options.explain)
    chosen = {"model": options.model} if options.model else {}
    asked = {"top_k": options.top_k, "threshold": options.threshold, **chosen}
    # The name of a file may be no text.
    sys.stdout.reconfigure(line_buffering=True, errors="surrogateescape")  # type: ignore[union-attr]
    failed = 0
    with closing(connect(options.url)) as client:
        results = in_order(
            lambda picture: classify(client, picture, asked, chosen), pictures, options.concurrency
        )
        # Only where someone watches: `disable=None` looks whether stderr is a terminal.
        for result in tqdm(results, total=len(pictures), unit=" pictures", disable=None):
            failed += "error" in result
            if options.json:
                tqdm.write(json.dumps(result))
            elif "error" in result:
                tqdm.write(f"{result['path']}: {result['error']['message']}", file=sys.stderr)
            else:
                named = [f"{p['label']} {p['probability']:.3f}" for p in result["predictions"]]
                tqdm.write("\t".join([result["path"], *(named or ["-"])]))
    if failed:
        print(f"client: {failed} of {len(pictures)} pictures failed", file=sys.stderr)
    return failed


def find_pictures(paths: Sequence[Path], overlays: Path | None) -> list[ToSend]:
    """The files to send, each once; in a folder those of a known suffix, by name.

    Overlays are laid out as the pictures are below the folder that they have in common.
    InputError for a folder without pictures, and if an overlay exists already.
    """
    found: dict[Path, Path] = {}  # where it lies -> as it was named first
    for path in paths:
        if not path.is_dir():
            found.setdefault(where(path), path)
            continue
        inside = [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in SUFFIXES
            and file.is_file()
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
        if not inside:
            raise InputError(f"{path}: no pictures in this folder; known: {', '.join(SUFFIXES)}")
        for file in inside:
            found.setdefault(where(file), file)
    if overlays is None:
        return [ToSend(path) for path in found.values()]
    common = os.path.commonpath([place.parent for place in found])
    pictures = [
        ToSend(path, overlays / (str(place.relative_to(common)) + ".png"))
        for place, path in found.items()
    ]
    for picture in pictures:
        if picture.overlay and picture.overlay.exists():
            raise InputError(f"--explain: {picture.overlay} exists already; name a new folder")
    return pictures


def where(path: Path) -> Path:
    """Where a file lies, without `..` or links on the way; it may be a link itself."""
    return Path(os.path.realpath(path.parent), path.name)


def connect(url: str) -> httpx.Client:
    """A client of the server at this address; InputError if none answers there."""
    if not url.startswith(("http://", "https://")):
        raise InputError(f"--url {url}: expected http://HOST:PORT")
    try:
        key = os.environ.get("RAY_CIFAR_API_KEY")
        headers = {b"x-api-key": os.fsencode(key)} if key else None  # any characters may be in it
        timeout = httpx.Timeout(60, connect=10)
        client = httpx.Client(base_url=url, timeout=timeout, headers=headers)
        ask(client, "GET", "/healthz")
    except (httpx.TransportError, httpx.InvalidURL) as error:
        words = f"no server answers at {url} ({error}); start one: python -m serve_app"
        raise InputError(words) from error
    return client


def in_order(
    work: Callable[[ToSend], dict[str, Any]], pictures: Sequence[ToSend], concurrency: int
) -> Iterator[dict[str, Any]]:
    """Results in the order of the pictures, `concurrency` of them being worked on at a time."""
    waiting: deque[Future[dict[str, Any]]] = deque()
    asked: SimpleQueue[tuple[ToSend, Future[dict[str, Any]]] | None] = SimpleQueue()

    def take_turns() -> None:
        while (turn := asked.get()) is not None:
            picture, result = turn
            if result.set_running_or_notify_cancel():
                try:
                    result.set_result(work(picture))
                except BaseException as error:
                    result.set_exception(error)

    # No pool: Python would wait at its end for each request under way, and a server may be slow.
    workers = min(concurrency, len(pictures))
    for _ in range(workers):
        threading.Thread(target=take_turns, daemon=True).start()
    try:
        for picture in pictures:
            waiting.append(Future())
            asked.put((picture, waiting[-1]))
            if len(waiting) >= AHEAD * concurrency:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for result in waiting:
            result.cancel()
        for _ in range(workers):
            asked.put(None)


def classify(
    client: httpx.Client, picture: ToSend, asked: dict[str, Any], chosen: dict[str, str]
) -> dict[str, Any]:
    """What the server says of a picture, `path` with it; or `path` and `error`."""

    def failed(code: str, words: str) -> dict[str, Any]:
        return {"path": str(picture.path), "error": {"code": code, "message": words}}

    def post(path: str, parameters: dict[str, Any]) -> httpx.Response:
        return ask(client, "POST", path, content=content, params=parameters, headers=BYTES)

    try:
        size = picture.path.stat().st_size
        if size > MAX_BYTES:
            words = f"the file has {size:,} bytes; at most {MAX_BYTES:,}"
            return failed("image_too_large", words)
        content = picture.path.read_bytes()
        answer = post("/v1/classify", asked)
        if answer.status_code != 200:
            return {"path": str(picture.path), "error": error_of(answer)}
        result = {"path": str(picture.path), **answer.json()}
        if picture.overlay is not None:
            answer = post("/v1/explain", chosen)
            if answer.status_code != 200:
                return {"path": str(picture.path), "error": error_of(answer)}
            write_whole(picture.overlay, answer.content)
            result["overlay"] = str(picture.overlay)
        return result
    except OSError as error:
        return failed("file", error.strerror or str(error))
    except httpx.TransportError as error:
        return failed("connection", f"the connection failed twice: {error}")
    except ValueError:
        return failed("answer", "the answer is not JSON; is another server at --url?")


def error_of(answer: httpx.Response) -> dict[str, str]:
    """The code and message of an answer that is not a success."""
    try:
        error = answer.json()["error"]
        return {"code": str(error["code"]), "message": str(error["message"])}
    except (ValueError, KeyError, TypeError):
        return {"code": f"http_{answer.status_code}", "message": answer.text[:200]}


if __name__ == "__main__":
    main()
