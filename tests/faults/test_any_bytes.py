"""Properties that hold for whatever arrives: pictures, mutated pictures, requests around them."""

from __future__ import annotations

import asyncio
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from cifar_model.orientation import orientation
from serve_app.containers import take_apart
from serve_app.decoding import Framed
from serve_app.images import decode_image
from serve_app.problems import Problem
from serve_app.tensors import read_inference
from serve_app.uploads import read_uploads
from tests.faults.bad_pictures import cases, chunk, encoded, exif

SMALL = sorted({case.data for case in cases().values() if len(case.data) < 20_000})
# The same examples in every run; `make fuzz` looks further.
held = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def decoded_or_refused(data: bytes) -> None:
    try:
        picture = decode_image(data)
    except Problem as problem:
        assert 400 <= problem.status < 500 and problem.message
    else:
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
        assert picture.size and picture.flags.c_contiguous


@held
@given(st.binary(max_size=2000))
def test_any_bytes_are_decoded_or_refused(data):
    decoded_or_refused(data)


@held
@given(
    st.sampled_from([b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\x80\0\0\0WEBPVP8X"]),
    st.data(),
)
def test_any_bytes_after_a_right_beginning_are_decoded_or_refused(start, data):
    decoded_or_refused(start + data.draw(st.binary(max_size=500)))


@held
@given(st.data())
def test_mutated_pictures_are_decoded_or_refused(data):
    whole = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, min(len(whole), start + 20)))
        whole[start:stop] = data.draw(st.binary(max_size=20))
    decoded_or_refused(bytes(whole))


@held
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"tRNS", b"PLTE", b"eXIf", b"IDAT", b"zTXt", b"acTL", b"IHDR", b"gAMA", b"IEND"]
            ),
            st.binary(max_size=40),
        ),
        max_size=6,
    ),
    st.integers(0, 6),
)
def test_pngs_of_any_chunks_are_decoded_or_refused(chunks, colour):
    head = chunk(b"IHDR", (4).to_bytes(4, "big") * 2 + bytes([8, colour, 0, 0, 0]))
    body = b"".join(chunk(name, data) for name, data in chunks)
    decoded_or_refused(b"\x89PNG\r\n\x1a\n" + head + body + chunk(b"IEND"))


@held
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))),
    st.integers(1, 8),
    st.sampled_from("<>"),
    st.sampled_from(["PNG", "WEBP"]),
)
def test_a_picture_comes_back_as_pillow_turns_it(picture, turned, order, kind):
    from PIL import ImageOps

    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(picture, kind, exif=exif(turned, order), **options)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (decode_image(data) == expected).all()


@held
@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(lambda b: b"II*\0" + b)))
def test_any_exif_has_an_orientation(data):
    assert orientation(data) in range(1, 9)


PROGRESSIVE = encoded(Image.new("RGB", (64, 64), "red"), "JPEG", progressive=True)
SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
# Of what must not join up to a scan where something between is left out.
PIECES = [b"\xff", b"\xda\0\x08", b"\xfe\0\6", b"\xff\xfe\0\2", b"\xff\xe5\0\4ab", b"\xff\x01",
          b"\xff\xe0\0\x2a", b"\xff\xd0", b"\xff\0", b"\0", SCAN, SCAN[1:]]  # fmt: skip


@held
@given(st.lists(st.sampled_from(PIECES), max_size=12))
@example([b"\xff", b"\xff\xfe\0\2", SCAN[1:]])
@example([b"\xff", b"\xff\xfe\0\2", b"\xfe\0\6", b"\xff\xe0\0\x2a", SCAN])
def test_every_scan_that_the_decoder_finds_was_counted(pieces):
    """What is left of a JPEG, taken apart again, is the same."""
    try:
        drawing = take_apart(PROGRESSIVE[:-2] + b"".join(pieces) + b"\xff\xd9")
    except Problem:
        return
    again = take_apart(drawing.data)
    assert (again.data, again.scans) == (drawing.data, drawing.scans)


class Body:
    """An ASGI `receive` that hands out a body in pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    async def __call__(self) -> dict[str, object]:
        piece = self.pieces.pop(0) if self.pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}


def read(content_type: str, pieces: list[bytes]) -> None:
    """What the endpoints do with a request; whatever comes of it must have a 4xx, or pictures."""
    headers = [(b"content-type", content_type.encode("latin-1", "replace"))]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    try:
        uploads = asyncio.run(read_uploads(Request(scope, Body(pieces)), 32))
    except Problem as problem:
        assert 400 <= problem.status < 500
    except HTTPException as error:
        assert error.status_code == 400
    else:
        for upload in uploads:
            assert isinstance(upload.found, Problem) or upload.found.square.shape == (32, 32, 3)


PICTURE = cases()["1x1"].data
FORM = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


@settings(held, max_examples=50)
@given(st.text(max_size=60), st.lists(st.binary(max_size=200), max_size=3))
def test_any_request_is_answered_or_refused(content_type, pieces):
    read(content_type, pieces)


@settings(held, max_examples=50)
@given(st.data())
def test_any_form_is_answered_or_refused(data):
    whole = bytearray((FORM + PICTURE + b"\r\n") * data.draw(st.integers(1, 3)) + b"--b--\r\n")
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, min(len(whole), start + 30)))
        whole[start:stop] = data.draw(st.binary(max_size=10))
    cut = data.draw(st.integers(0, len(whole)))
    read("multipart/form-data; boundary=b", [bytes(whole[:cut]), bytes(whole[cut:])])


# Values where numbers, names and shapes belong.
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@held
@given(st.data())
def test_any_tensor_is_read_or_refused(data):
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
    request = {"inputs": [tensor], "outputs": [{"name": "labels"}]}
    for part in (tensor, request, request["outputs"][0]):
        for name in data.draw(st.sets(st.sampled_from([*part, "parameters", "id"]), max_size=2)):
            part[name] = data.draw(ANYTHING)
    body = json.dumps(request).encode()
    length = data.draw(st.none() | st.just(str(len(body))) | st.text(max_size=4))
    try:
        _, pictures = read_inference(body + data.draw(st.binary(max_size=4)), length)
    except Problem as problem:
        assert 400 <= problem.status < 500
    else:
        assert pictures.ndim == 4 and pictures.shape[3] == 3 and pictures.dtype == np.uint8


def test_the_whole_form_is_read():
    body = FORM + PICTURE + b"\r\n--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    (upload,) = asyncio.run(read_uploads(Request(scope, Body([body])), 32))
    assert upload.name == "a.png" and isinstance(upload.found, Framed)


def test_pictures_of_one_request_share_its_pixels():
    from serve_app.images import MAX_PIXELS

    side = int(MAX_PIXELS**0.5 * 0.8)
    large = encoded(Image.new("1", (side, side)), "PNG")
    body = (FORM + large + b"\r\n") * 2 + FORM + PICTURE + b"\r\n--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    first, second, third = asyncio.run(read_uploads(Request(scope, Body([body])), 32))
    assert isinstance(first.found, Framed) and isinstance(third.found, Framed)
    assert isinstance(second.found, Problem) and second.found.code == "image_too_large"


@pytest.mark.parametrize("count", [2, 64])
def test_too_many_files_are_refused_before_they_are_decoded(count):
    body = (FORM + b"no picture" + b"\r\n") * count + b"--b--\r\n"
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]
    scope = {"type": "http", "method": "POST", "headers": headers, "app": None}
    with pytest.raises(Problem) as problem:
        asyncio.run(read_uploads(Request(scope, Body([body])), 32, most=1))
    assert (problem.value.status, problem.value.code) == (422, "too_many_files")
