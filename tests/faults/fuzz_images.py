"""A coverage-guided search for bytes that break the decoder or a request parser.

python -m tests.faults.fuzz_images picture -max_total_time=60
python -m tests.faults.fuzz_images request -max_total_time=60
python -m tests.faults.fuzz_images tensor -max_total_time=60

Whatever follows the target goes to libFuzzer. An input that raises anything but the documented
errors, takes over 5 s or 2 GB ends the search with its file and status 1. Covered is the Python
code: the container parsers, Pillow's readers and Starlette's form parser; C code is run, and its
crashes are found, but does not guide the search. Linux only, as Atheris is.
"""

from __future__ import annotations

import asyncio
import gzip
import sys
import tempfile
import zlib
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["serve_app", "PIL", "starlette.formparsers"]):
    from serve_app.images import open_image
    from serve_app.problems import Problem
    from serve_app.tensors import decompress, read_inference
    from serve_app.uploads import read_uploads

from starlette.exceptions import HTTPException
from starlette.requests import Request

from tests.faults.bad_pictures import SIGNATURE, cases

LARGEST_SEED = 20_000  # bytes
PIXELS = 1_000_000
LIMITS = ["-timeout=5", "-rss_limit_mb=2048", f"-max_len={2 * LARGEST_SEED}"]
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def picture(data: bytes) -> None:
    """Decoded, or refused with a 4xx."""
    try:
        found = open_image(data, max_pixels=PIXELS).decode()
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert found.ndim == 3 and 0 < found.size <= 3 * PIXELS


def request(data: bytes) -> None:
    """The first line is the content type, the rest the body."""
    content_type, _, body = data.partition(b"\n")
    if b"charset" in content_type:
        return  # FormCharset's
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, object]:
        return messages.pop()

    scope = {"type": "http", "headers": [(b"content-type", content_type)], "app": None}
    try:
        _LOOP.run_until_complete(read_uploads(Request(scope, receive), 32))
    except Problem as problem:
        assert 400 <= problem.status < 500
    except HTTPException as error:
        assert error.status_code == 400


def tensor(data: bytes) -> None:
    """The first byte says how the body is packed, the next two are the header with JSON's end."""
    packing = ("", "", "gzip", "deflate")[data[0] % 4 if data else 0]
    head_length = str(int.from_bytes(data[1:3], "big")) if data[:1] > b"\x80" else None
    try:
        _, pictures = read_inference(decompress(data[3:], packing, 2**20), head_length)
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert pictures.ndim == 4 and pictures.shape[3] == 3 and pictures.dtype.kind == "u"


def mutated(data: bytes, max_size: int, seed: int) -> bytes:
    """libFuzzer's own mutation; in most PNGs with checksums that are right again."""
    data = atheris.Mutate(data, max_size)
    return with_checksums(data) if seed % 8 else data


def with_checksums(data: bytes) -> bytes:
    """A PNG's chunks with right checksums; other bytes as they are."""
    if not data.startswith(SIGNATURE):
        return data
    whole, position = bytearray(data), len(SIGNATURE)
    while position + 12 <= len(whole):
        end = position + 12 + int.from_bytes(whole[position : position + 4], "big")
        if end > len(whole):
            break
        whole[end - 4 : end] = zlib.crc32(whole[position + 4 : end - 4]).to_bytes(4, "big")
        position = end
    return bytes(whole)


def seeds(target: str) -> dict[str, bytes]:
    """What the search starts from."""
    small = {n: c.data for n, c in cases().items() if len(c.data) <= LARGEST_SEED}
    if target == "picture":
        return small
    if target == "tensor":
        whole = b'{"inputs":[{"name":"images","datatype":"UINT8","shape":[1,1,1,3],'
        numbers = whole + b'"data":[1,2,3]}],"outputs":[{"name":"labels"}]}'
        nested = whole + b'"data":[[[[1,2,3]]]]}],"id":"a"}'
        follow = whole + b'"parameters":{"binary_data_size":3}}]}'
        return {
            "numbers": b"\0\0\0" + numbers,
            "nested": b"\0\0\0" + nested,
            "bytes": b"\x81" + len(follow).to_bytes(2, "big") + follow + b"\1\2\3",
            "gzip": b"\2\0\0" + gzip.compress(numbers),
        }
    form = b"multipart/form-data; boundary=b\n"
    return {name: form + FORM + data + b"\r\n--b--\r\n" for name, data in small.items()} | {
        "raw": b"image/png\n" + small["1x1"],
        "two": form + (FORM + small["1x1"] + b"\r\n") * 2 + b"--b--\r\n",
    }


def main(target: str, *options: str) -> None:
    """Search until libFuzzer's options say to stop."""
    run = {"picture": picture, "request": request, "tensor": tensor}[target]
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{target}-"))
    for number, data in enumerate(seeds(target).values()):
        (folder / f"seed{number}").write_bytes(data)
    found = folder.with_name(f"{folder.name}-found")
    found.mkdir()
    arguments = [sys.argv[0], *LIMITS, f"-artifact_prefix={found}/", *options, str(folder)]
    atheris.Setup(arguments, run, **({"custom_mutator": mutated} if target == "picture" else {}))
    print(f"inputs that reach new code are kept in {folder}, those that break it in {found}")
    atheris.Fuzz()


_LOOP = asyncio.new_event_loop()

if __name__ == "__main__":
    main(*sys.argv[1:])
