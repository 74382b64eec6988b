"""Tensors on the wire: a request's bytes -> pictures, a model's outputs -> an answer's bytes.

A tensor is numbers in the JSON, or (the binary data extension) bytes that follow it: little-endian,
row-major, each string after its length in 4 bytes.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import ValidationError

from serve_app.inference_schemas import (
    OUTPUTS,
    InferenceRequest,
    InputTensor,
    RequestedOutput,
)
from serve_app.problems import Problem

# Parsing holds up everything else in the process, by 40 to 90 ms a MiB; bytes cost nothing.
MAX_JSON = 2 * 2**20
# They would change where data are or what comes back; other parameters may be ignored.
UNSUPPORTED = ("classification", "shared_memory_region")
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS
_GZIP = ("gzip", "x-gzip")  # RFC 9110 has both for the same
# Parts of a gzip body, each packed for itself (RFC 1952, 2.2): those who pack in blocks do so to
# 64 KiB at a time.
MAX_MEMBERS = 256

Values = NDArray[np.float32] | Sequence[str]


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """A body as it was before its Content-Encoding; `Problem` beyond `max_bytes`."""
    if encoding in ("", "identity"):
        return body
    if encoding not in (*_GZIP, "deflate"):
        words = f"Content-Encoding {encoding[:40]!r}: send gzip, deflate or none"
        raise Problem(415, "unsupported_encoding", words)
    whole, rest = bytearray(), memoryview(body)
    for _ in range(MAX_MEMBERS if encoding in _GZIP else 1):
        unpacking = zlib.decompressobj(GZIP_OR_ZLIB)
        try:
            whole += unpacking.decompress(rest, max_bytes + 1 - len(whole))
        except zlib.error as error:
            raise Problem(400, "damaged_body", f"the body is not {encoding}: {error}") from error
        if len(whole) > max_bytes:
            words = f"the body unpacks to more than {max_bytes:,} bytes"
            raise Problem(413, "body_too_large", words)
        if not unpacking.eof:
            raise Problem(400, "damaged_body", f"the {encoding} body is cut short")
        rest = rest[len(rest) - len(unpacking.unused_data) :]
        if not rest:
            return bytes(whole)
    raise Problem(
        400, "damaged_body", f"the {encoding} body has too many parts, or more follows it"
    )


def read_inference(
    body: bytes, head_length: str | None
) -> tuple[InferenceRequest, NDArray[np.uint8]]:
    """A request and its pictures (N, H, W, 3); `Problem` if the two don't fit together.

    head_length: the header Inference-Header-Content-Length; without it all of the body is JSON.
    """
    end = len(body)
    if head_length is not None:
        # More digits than that no body has, and int() takes its time over thousands of them.
        if not (head_length.isascii() and head_length.isdecimal() and len(head_length) <= 12):
            raise _bad_head(head_length[:40], end)
        end = int(head_length)
        if not 0 < end <= len(body):
            raise _bad_head(head_length, len(body))
    if end > MAX_JSON:
        words = f"{end:,} bytes of JSON, at most {MAX_JSON:,}: send the pictures as binary data"
        raise Problem(413, "body_too_large", words)
    request = _parse(body[:end])
    return request, _pictures(request.inputs[0], memoryview(body)[end:])


def write_answer(
    request: InferenceRequest, model: str, outputs: Mapping[str, Values]
) -> tuple[bytes, int | None]:
    """The body of an answer with the outputs asked for; the length of its JSON if bytes follow."""
    wanted = request.outputs or [RequestedOutput(name=name) for name in OUTPUTS]
    as_bytes = request.parameters is not None and request.parameters.binary_data_output
    described, tail = [], []
    for output in wanted:
        values = outputs[output.name]
        numbers = isinstance(values, np.ndarray)
        tensor: dict[str, Any] = {
            "name": output.name,
            "datatype": "FP32" if numbers else "BYTES",
            "shape": values.shape if isinstance(values, np.ndarray) else [len(values)],
        }
        choice = output.parameters.binary_data if output.parameters else None
        if as_bytes if choice is None else choice:
            tail.append(_to_bytes(values))
            tensor["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            tensor["data"] = values.ravel() if isinstance(values, np.ndarray) else values
        described.append(tensor)
    head = {"model_name": model, "outputs": described}
    if request.id is not None:
        head["id"] = request.id
    written = orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join([written, *tail]), len(written) if tail else None


def _parse(head: bytes) -> InferenceRequest:
    try:
        request = InferenceRequest.model_validate_json(head)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Problem(400, "invalid_json", first["msg"]) from error
        place = ".".join(str(part) for part in first["loc"]) or "the request"
        raise Problem(400, "invalid_request", f"{place}: {first['msg']}") from error
    for part in (*request.inputs, *(request.outputs or ())):
        given = (part.parameters.model_extra if part.parameters else None) or {}
        for name in UNSUPPORTED:
            if name in given:
                words = f"{part.name}: the parameter {name!r} is not supported here"
                raise Problem(400, "unsupported_parameter", words)
    return request


def _pictures(tensor: InputTensor, tail: memoryview) -> NDArray[np.uint8]:
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if (size is None) == (tensor.data is None):
        words = "images: give either `data` or the parameter `binary_data_size`"
        raise Problem(400, "invalid_request", words)
    count = math.prod(tensor.shape)
    if len(tail) != (size or 0):
        words = f"{len(tail):,} bytes follow the JSON; it announces {size or 0:,} of them"
        raise Problem(400, "invalid_data", words)
    if tensor.data is not None:
        return _to_uint8(_flat(tensor.data, tensor.shape)).reshape(tensor.shape)
    if size != count:
        words = f"images: binary_data_size is {size:,}; shape {list(tensor.shape)} has {count:,}"
        raise Problem(400, "invalid_data", words)
    # A copy, because PyTorch takes no array that can't be written to.
    return np.frombuffer(bytearray(tail), np.uint8).reshape(tensor.shape)


def _flat(data: list[Any], shape: Sequence[int]) -> list[Any]:
    """The numbers of nested or flat data, as many as the shape has."""
    if data and isinstance(data[0], list):
        level, *deeper = [[data], *shape]
        for depth, size in enumerate(deeper):
            if {*map(type, level)} != {list} or {*map(len, level)} != {size}:
                words = f"images: nested data that differ from shape {list(shape)} in axis {depth}"
                raise Problem(400, "invalid_data", words)
            level = list(chain.from_iterable(level))
        return level
    if len(data) != (count := math.prod(shape)):
        words = f"images: {len(data):,} numbers; shape {list(shape)} has {count:,}"
        raise Problem(400, "invalid_data", words)
    return data


def _to_uint8(numbers: list[Any]) -> NDArray[np.uint8]:
    kinds = {*map(type, numbers)}
    try:
        if kinds == {int}:
            return np.frombuffer(bytearray(numbers), np.uint8)
        if kinds <= {int, float} and all(number == int(number) for number in numbers):
            # 255.0 is a whole number too, and some languages write it so.
            return np.frombuffer(bytearray(map(int, numbers)), np.uint8)
    except (ValueError, OverflowError):  # out of range, infinite, or no number
        pass
    words = "images: data that are not all whole numbers from 0 to 255"
    raise Problem(400, "invalid_data", words)


def _to_bytes(values: Values) -> bytes:
    if isinstance(values, np.ndarray):
        return values.astype("<f4").tobytes()
    return b"".join(struct.pack("<I", len(raw)) + raw for raw in map(str.encode, values))


def _bad_head(length: str, size: int) -> Problem:
    words = f"Inference-Header-Content-Length {length!r}: the body has {size:,} bytes"
    return Problem(400, "invalid_header_length", words)
