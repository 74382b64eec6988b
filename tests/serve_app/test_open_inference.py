"""The Open Inference Protocol, by Triton's own client and by hand."""

import gzip
import json
import random
import struct
import time
import zlib

import httpx
import jsonschema
import numpy as np
import pytest
import tritonclient.http as triton
from starlette.testclient import TestClient

from cifar_model.framing import fit_to_square
from cifar_model.predictor import Predictor, softmax
from cifar_model.sources import load_source
from serve_app.admission import Admission, Occupancy
from serve_app.api import build_api
from serve_app.backends import InProcess
from serve_app.problems import Problem
from serve_app.tensors import decompress, read_inference

HEAD = "Inference-Header-Content-Length"


@pytest.fixture(params=["local_server", "served"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def predictor(digits_model):
    return Predictor.load(digits_model)


@pytest.fixture(scope="module")
def digits():
    return load_source("digits").test.images


def name_of(client):
    return client.get("/v1/models").json()["models"][0]["name"]


def tensor(images, **changes):
    """An input as JSON has it."""
    data = images.ravel().tolist()
    return {
        "name": "images", "datatype": "UINT8", "shape": list(images.shape), "data": data, **changes
    }  # fmt: skip


def infer(client, request, **options):
    """POST a request that is JSON alone."""
    return client.post(f"/v2/models/{name_of(client)}/infer", json=request, **options)


def binary(client, head, tail, **headers):
    """POST a request with bytes after its JSON."""
    written = json.dumps(head).encode()
    return client.post(
        f"/v2/models/{name_of(client)}/infer",
        content=written + tail,
        headers={HEAD: str(len(written)), **headers},
    )


def output(answer, name):
    """An output of a JSON answer."""
    (found,) = [o for o in answer.json()["outputs"] if o["name"] == name]
    return found


@pytest.fixture
def triton_client(url):
    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        yield client


def test_tritons_client_finds_server_and_model(triton_client, url):
    name = name_of(httpx.Client(base_url=url))
    assert triton_client.is_server_live() and triton_client.is_server_ready()
    assert triton_client.is_model_ready(name) and not triton_client.is_model_ready("another")
    assert triton_client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = triton_client.get_model_metadata(name)
    assert metadata["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert metadata["outputs"] == [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "logits", "datatype": "FP32", "shape": [-1, 10]},
        {"name": "labels", "datatype": "BYTES", "shape": [-1]},
    ]


@pytest.mark.parametrize("compressed", [None, "gzip", "deflate"])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_tritons_client_gets_the_models_own_outputs(
    triton_client, url, predictor, digits, binary_in, binary_out, compressed
):
    images = digits[:40]  # more than a batch
    given = triton.InferInput("images", images.shape, "UINT8")
    given.set_data_from_numpy(images, binary_data=binary_in)
    wanted = None
    if binary_out is not None:
        names = ("labels", "logits", "probabilities")
        wanted = [triton.InferRequestedOutput(n, binary_data=binary_out) for n in names]
    answer = triton_client.infer(
        name_of(httpx.Client(base_url=url)),
        [given],
        outputs=wanted,
        request_id="seven",
        request_compression_algorithm=compressed,
    )
    logits = predictor.logits(images)
    np.testing.assert_allclose(answer.as_numpy("logits"), logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer.as_numpy("probabilities"), softmax(logits), atol=1e-5)
    labels = [str(c).encode() for c in logits.argmax(1)]
    found = answer.as_numpy("labels").tolist()
    assert [x if isinstance(x, bytes) else x.encode() for x in found] == labels
    assert answer.get_response()["id"] == "seven"


def test_tritons_client_sees_errors_as_the_protocol_has_them(triton_client):
    with pytest.raises(triton.InferenceServerException, match="no model 'another'") as caught:
        triton_client.infer("another", [triton.InferInput("images", [1, 2, 2, 3], "UINT8")])
    assert caught.value.status() == "404"


def test_nested_and_flat_data_and_bytes_are_the_same_pictures(client, digits):
    images = digits[:3]
    flat = infer(client, {"inputs": [tensor(images)]})
    nested = infer(client, {"inputs": [tensor(images, data=images.tolist())]})
    floats = infer(client, {"inputs": [tensor(images, data=images.ravel().astype(float).tolist())]})
    head = {"inputs": [tensor(images)]}
    del head["inputs"][0]["data"]
    head["inputs"][0]["parameters"] = {"binary_data_size": images.size}
    raw = binary(client, head, images.tobytes())
    assert raw.status_code == 200 and raw.headers["content-type"] == "application/json"
    for other in (nested, floats, raw):
        found, own = output(other, "logits")["data"], output(flat, "logits")["data"]
        np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-5)


def test_pictures_may_be_written_to_as_pytorch_needs_it():
    head = {"inputs": [tensor(PIXEL)]}
    assert read_inference(json.dumps(head).encode(), None)[1].flags.writeable
    head = {"inputs": [tensor(PIXEL, data=None, parameters={"binary_data_size": 3})]}
    written = json.dumps(head).encode()
    pictures = read_inference(written + PIXEL.tobytes(), str(len(written)))[1]
    assert pictures.flags.writeable and pictures.tolist() == PIXEL.tolist()


def test_pictures_of_any_size_are_framed_as_everywhere(client, predictor):
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 90, 3), dtype=np.uint8)
    answer = infer(client, {"inputs": [tensor(images)], "outputs": [{"name": "logits"}]})
    own = predictor.logits(np.stack([fit_to_square(image, 32) for image in images]))
    assert [o["name"] for o in answer.json()["outputs"]] == ["logits"]
    assert output(answer, "logits")["shape"] == [2, 10]
    np.testing.assert_allclose(output(answer, "logits")["data"], own.ravel(), rtol=1e-4, atol=1e-4)


def test_an_output_that_is_named_twice_is_answered_twice(client):
    twice = {"inputs": [tensor(PIXEL)], "outputs": [{"name": "labels"}] * 2}
    first, second = infer(client, twice).json()["outputs"]
    assert first == second and first["name"] == "labels"


def test_bytes_follow_the_json_in_the_order_of_the_outputs(client, digits, predictor):
    wanted = [
        {"name": "labels", "parameters": {"binary_data": True}},
        {"name": "probabilities", "parameters": {"binary_data": False}},
        {"name": "logits"},
    ]
    request = {
        "inputs": [tensor(digits[:2])],
        "outputs": wanted,
        "parameters": {"binary_data_output": True, "priority": 3},
    }
    answer = infer(client, request)
    assert answer.headers["content-type"] == "application/octet-stream"
    end = int(answer.headers[HEAD])
    head, tail = json.loads(answer.content[:end]), answer.content[end:]
    labels, probabilities, logits = head["outputs"]
    assert labels == {
        "name": "labels", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}
    }  # fmt: skip
    own = predictor.logits(digits[:2])
    first, second = own.argmax(1)
    expected = b"".join(struct.pack("<I", 1) + str(c).encode() for c in (first, second))
    assert tail[:10] == expected
    assert logits["parameters"] == {"binary_data_size": 80} and len(tail) == 90
    found = np.frombuffer(tail[10:], "<f4").reshape(2, 10)
    np.testing.assert_allclose(found, own, rtol=1e-4, atol=1e-4)
    assert sum(probabilities["data"]) == pytest.approx(2, abs=1e-4)


def test_one_to_sixty_four_pictures(client, digits):
    for count, status in ((1, 200), (64, 200), (65, 400)):
        head = {"inputs": [tensor(digits[:count])], "outputs": [{"name": "labels"}]}
        del head["inputs"][0]["data"]
        head["inputs"][0]["parameters"] = {"binary_data_size": count * 32 * 32 * 3}
        answer = binary(client, head, digits[:count].tobytes())
        assert answer.status_code == status
        if status == 200:
            assert len(output(answer, "labels")["data"]) == count
        else:
            assert "shape.0" in answer.json()["error"]


PIXEL = np.array([[[[1, 2, 3]]]], np.uint8)
ODD_DATA = {
    "too few": [1, 2],
    "too many": [1, 2, 3, 4],
    "negative": [1, 2, -3],
    "over 255": [1, 2, 256],
    "huge": [1, 2, 10**30],
    "a fraction": [1, 2, 2.5],
    "booleans": [True, False, True],
    "strings": ["1", "2", "3"],
    "null": [1, 2, None],
    "objects": [{}, {}, {}],
    "half nested": [[[[1, 2]]], 3],
    "nested otherwise": [[[1, 2, 3]]],
    "nested too deep": [[[[[1], [2], [3]]]]],
    "nested strings": [[["123"]]],
    "ragged": [[[[1, 2], [3]]]],
    "empty": [],
    "empty lists": [[[[]]]],
}


@pytest.mark.parametrize("what", ODD_DATA)
def test_odd_data_are_refused(in_process, what):
    answer = infer(in_process, {"inputs": [tensor(PIXEL, data=ODD_DATA[what])]})
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_data"
    assert isinstance(answer.json()["error"], str) and "images" in answer.json()["error"]


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e-400", "9" * 400])
def test_literals_that_are_no_byte_are_refused(in_process, literal):
    written = json.dumps({"inputs": [tensor(PIXEL)]}).replace("[1, 2, 3]", f"[1, 2, {literal}]")
    assert literal in written
    answer = in_process.post(f"/v2/models/{name_of(in_process)}/infer", content=written)
    # -1e-400 underflows to zero, which is a byte.
    assert answer.status_code == (200 if literal == "-1e-400" else 400)


BINARY = {"data": None, "parameters": {"binary_data_size": 3}}


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({}, "invalid_request"),
        ([], "invalid_request"),
        ("images", "invalid_request"),
        ({"inputs": []}, "invalid_request"),
        ({"inputs": [tensor(PIXEL), tensor(PIXEL)]}, "invalid_request"),
        ({"inputs": {"images": tensor(PIXEL)}}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, name="image")]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, datatype="FP32")]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, datatype="uint8")]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 1, 1, 1])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 3, 1, 1])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[0, 1, 1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, -1, -1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[True, 1, 1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=["1", 1, 1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 2**62, 2**62, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 10**40, 1, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 10**4000, 10**4000, 3])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, shape=[1, 2**31, 2**31, 3])]}, "invalid_data"),
        ({"inputs": [tensor(PIXEL, data="AQID")]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, data=None)]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, parameters=[])]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, parameters={"binary_data_size": 3})]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL, **BINARY)]}, "invalid_data"),
        (
            {"inputs": [tensor(PIXEL, data=None, parameters={"shared_memory_region": "r"})]},
            "unsupported_parameter",
        ),
        ({"inputs": [tensor(PIXEL)], "id": 7}, "invalid_request"),
        ({"inputs": [tensor(PIXEL)], "outputs": ["labels"]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL)], "outputs": [{"name": "classes"}]}, "invalid_request"),
        ({"inputs": [tensor(PIXEL)], "outputs": [{"name": "labels"}] * 9}, "invalid_request"),
        (
            {
                "inputs": [tensor(PIXEL)],
                "outputs": [{"name": "labels", "parameters": {"binary_data": "yes"}}],
            },
            "invalid_request",
        ),
        (
            {
                "inputs": [tensor(PIXEL)],
                "outputs": [{"name": "labels", "parameters": {"classification": 2}}],
            },
            "unsupported_parameter",
        ),
    ],
)
def test_requests_that_are_not_the_protocols_are_refused(in_process, request_, code):
    answer = infer(in_process, request_)
    assert answer.status_code == 400
    body = answer.json()
    assert set(body) == {"error", "code"} and body["code"] == code and body["error"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b'{"inputs": "\\ud800"}', b"[" * 100_000, bytes(100)],
)
def test_what_is_not_json_is_refused(in_process, content):
    answer = in_process.post(f"/v2/models/{name_of(in_process)}/infer", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("length", ["0", "-1", "1.5", "", "x", "1" * 5000, "\xb2", "1000000"])
def test_absurd_header_lengths_are_refused(in_process, length):
    written = json.dumps({"inputs": [tensor(PIXEL)]}).encode()
    path = f"/v2/models/{name_of(in_process)}/infer"
    headers = {HEAD: length.encode("latin-1")}
    answer = in_process.post(path, content=written, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header_length")


@pytest.mark.parametrize(
    ("size", "tail"), [(3, b"12"), (3, b"1234"), (2, b"12"), (4, b"1234"), (-1, b""), (2**70, b"")]
)
def test_bytes_that_differ_from_their_size_are_refused(in_process, size, tail):
    head = {"inputs": [tensor(PIXEL, data=None, parameters={"binary_data_size": size})]}
    answer = binary(in_process, head, tail)
    assert answer.status_code == 400


def test_bodies_that_cannot_be_unpacked_are_refused(in_process):
    head = {"inputs": [tensor(PIXEL)]}
    packed = gzip.compress(json.dumps(head).encode())
    bomb = gzip.compress(bytes(64 * 2**20))
    for content, encoding, status, code in (
        (packed, "gzip", 200, None),
        (packed[:-9], "gzip", 400, "damaged_body"),
        (packed + b"more", "gzip", 400, "damaged_body"),
        (b"not packed", "gzip", 400, "damaged_body"),
        (b"", "gzip", 400, "damaged_body"),
        (packed, "br", 415, "unsupported_encoding"),
        (bomb, "gzip", 413, "body_too_large"),
    ):
        path = f"/v2/models/{name_of(in_process)}/infer"
        answer = in_process.post(path, content=content, headers={"content-encoding": encoding})
        assert (answer.status_code, answer.json().get("code")) == (status, code)


PARTS = [gzip.compress(b"some"), gzip.compress(b""), gzip.compress(b"more")]


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_the_parts_of_a_gzip_body_are_one(encoding):
    assert decompress(b"".join(PARTS), encoding, 8) == b"somemore"


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (b"".join(PARTS) + b"some", "gzip", "damaged_body"),
        (b"".join(PARTS)[:-1], "gzip", "damaged_body"),
        (zlib.compress(b"some") * 2, "deflate", "damaged_body"),
        (PARTS[1] * 500_000, "gzip", "damaged_body"),
        (gzip.compress(bytes(5)) * 3, "gzip", "body_too_large"),
    ],
    ids=["more follows", "cut", "two of deflate", "half a million", "15 bytes"],
)
def test_parts_that_do_not_fit_or_are_too_much_together_are_refused(body, encoding, code):
    start = time.thread_time()
    with pytest.raises(Problem) as refused:
        decompress(body, encoding, 14)
    assert refused.value.code == code
    assert time.thread_time() - start < 1  # of computing; a busy machine takes longer to do it


def test_too_much_is_refused_in_the_protocols_shape(client):
    path = f"/v2/models/{name_of(client)}/infer"
    for content, words in (
        (bytes(11 * 2**20), "bytes"),
        (iter([bytes(2**20)] * 11), ""),
        (b" " * (3 * 2**20), "binary"),
    ):
        answer = client.post(path, content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
        assert words in answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/v2/models/another", 404, "unknown_model", None),
        ("GET", "/v2/models/another/ready", 404, "unknown_model", None),
        ("POST", "/v2/models/another/infer", 404, "unknown_model", None),
        ("GET", "/v2/models/" + "x" * 201, 422, "invalid_parameter", None),
        ("GET", "/v2/models", 404, "not_found", None),
        ("GET", "/v2/", 404, "not_found", None),
        ("POST", "/v2/repository/index", 404, "not_found", None),
        ("POST", "/v2", 405, "method_not_allowed", "GET"),
        ("DELETE", "/v2/health/live", 405, "method_not_allowed", "GET"),
        ("GET", "/v2/models/any/infer", 405, "method_not_allowed", "POST"),
    ],
)
def test_other_paths_and_methods_are_refused(client, method, path, status, code, allow):
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["error"], str)
    assert answer.headers.get("allow") == allow


def test_a_full_server_says_so_in_the_protocols_shape(digits_model):
    api = build_api(InProcess({"digits": Predictor.load(digits_model)}))
    with TestClient(Admission(api, Occupancy(0))) as client:
        answer = client.post("/v2/models/digits/infer", json={"inputs": [tensor(PIXEL)]})
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert isinstance(answer.json()["error"], str) and answer.headers["retry-after"] == "1"
        assert client.get("/v2/health/live").json() == {"live": True}


def test_the_examples_of_the_openapi_page_run_and_answer_as_it_says(client):
    page = client.get("/openapi.json").json()
    operation = page["paths"]["/v2/models/{name}/infer"]["post"]
    (name,) = [p for p in operation["parameters"] if p["name"] == "name"]
    content = operation["requestBody"]["content"]["application/json"]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert len(content["examples"]) == 2
    for example in content["examples"].values():
        jsonschema.validate(example["value"], content["schema"])
        path = f"/v2/models/{name['examples']['default']['value']}/infer"
        answer = client.post(path, json=example["value"])
        assert answer.status_code == 200
        jsonschema.validate(answer.json(), {**schema, "components": page["components"]})


def test_requests_with_a_few_bytes_changed_never_break_the_server(in_process):
    head = {"id": "a", "inputs": [tensor(PIXEL)], "outputs": [{"name": "labels"}]}
    whole = json.dumps(head).encode()
    draw = random.Random(0)
    path = f"/v2/models/{name_of(in_process)}/infer"
    statuses = set()
    for _ in range(500):
        changed = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(changed))
            changed[place : place + draw.randint(0, 2)] = draw.choice(
                [b"", b'"', b"0", b"-", b"e9", b"[", b"]", b"{", b"null", b"\x00", b"\xff", b"1e9"]
            )
        headers = {HEAD: str(draw.randint(1, len(changed)))} if draw.random() < 0.2 else {}
        answer = in_process.post(path, content=bytes(changed), headers=headers)
        statuses.add(answer.status_code)
        assert answer.status_code in (200, 400), bytes(changed)
    assert statuses == {200, 400}
