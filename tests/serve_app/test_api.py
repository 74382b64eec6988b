"""The endpoints, in the process and on Ray Serve alike."""

import io
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cifar_model.framing import fit_to_square
from cifar_model.predictor import Predictor
from serve_app.admission import LEAST_INSIDE

PNG = {"content-type": "image/png"}
TEXT = {"content-type": "text/plain"}
FORM = {"content-type": "multipart/form-data"}  # without its boundary
JSON = {"accept": "application/json"}


def encode_noise():
    """A picture that the model can't be certain of."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def predictor(digits_model):
    return Predictor.load(digits_model)


@pytest.fixture(scope="module")
def expected(predictor, png):
    """The exported model's own probabilities of the picture."""
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    return predictor.probabilities([fit_to_square(picture, 32)])[0]


def test_classify_answers_with_the_models_own_probabilities(client, png, sure_digit, expected):
    answer = client.post("/v1/classify", files={"file": ("digit.png", png, "image/png")})
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"] == "two-workers"
    order = np.argsort(-expected)[:5]
    assert [p["index"] for p in body["predictions"]] == order.tolist()
    assert body["predictions"][0]["label"] == str(sure_digit[1])
    found = [p["probability"] for p in body["predictions"]]
    assert found == pytest.approx(expected[order].tolist(), rel=1e-3, abs=1e-6)


def test_a_form_and_a_raw_body_get_the_same_answer(client, png):
    form = client.post("/v1/classify", files={"file": png})
    raw = client.post("/v1/classify", content=png, headers=PNG)
    assert form.json()["predictions"][0] == raw.json()["predictions"][0]


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (3, 3), (10, 10), (1000, 10)])
def test_top_k_is_how_many_classes_are_named(client, png, top_k, count):
    body = client.post(f"/v1/classify?top_k={top_k}", content=png, headers=PNG).json()
    assert len(body["predictions"]) == count
    probabilities = [p["probability"] for p in body["predictions"]]
    assert probabilities == sorted(probabilities, reverse=True)
    if count == 10:
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)


def test_a_threshold_leaves_out_what_is_less_probable(client, png, expected):
    body = client.post("/v1/classify?top_k=10&threshold=0.01", content=png, headers=PNG).json()
    assert len(body["predictions"]) == (expected >= 0.01).sum()
    assert client.post("/v1/classify?threshold=1", content=encode_noise(), headers=PNG).json() == {
        "model": "two-workers",
        "predictions": [],
    }


def test_several_pictures_in_one_request_are_answered_in_their_order(client, png):
    noise = encode_noise()
    parts = [("file", (name, data)) for name, data in (("a.png", png), ("b.png", noise))] * 20
    many = client.post("/v1/classify?top_k=1", files=parts).json()
    alone = {
        "a.png": client.post("/v1/classify?top_k=1", content=png, headers=PNG).json(),
        "b.png": client.post("/v1/classify?top_k=1", content=noise, headers=PNG).json(),
    }
    assert many["model"] == "two-workers"
    assert [result["name"] for result in many["results"]] == ["a.png", "b.png"] * 20
    for result in many["results"]:
        [found], [own] = result["predictions"], alone[result["name"]]["predictions"]
        assert found["index"] == own["index"]
        assert found["probability"] == pytest.approx(own["probability"], rel=1e-3)


def test_one_bad_picture_among_several_fails_alone(client, png):
    parts = [("file", ("good.png", png)), ("file", ("bad.png", b"text")), ("file", ("c.png", png))]
    answer = client.post("/v1/classify", files=parts)
    assert answer.status_code == 200
    first, second, third = answer.json()["results"]
    assert first["predictions"] == third["predictions"]
    assert second == {"name": "bad.png", "error": second["error"]}
    assert second["error"]["code"] == "unsupported_image"


def test_more_pictures_than_the_limit_are_refused(client, png):
    answer = client.post("/v1/classify", files=[("file", png)] * 65)
    assert answer.status_code == 400
    assert "64" in answer.json()["error"]["message"]


def test_test_time_augmentation_is_left_out_where_mirror_images_do_not_belong(client, png):
    """The digits were trained without flips."""
    plain = client.post("/v1/classify", content=png, headers=PNG).json()
    auto = client.post("/v1/classify?tta=auto", content=png, headers=PNG).json()
    assert auto.pop("reexamined") is False
    assert auto == plain


def test_the_model_is_chosen_by_name(client, png):
    named = client.post("/v1/classify?model=two-workers", content=png, headers=PNG)
    assert named.json()["model"] == "two-workers"
    for name in ("nobody", "../two-workers", "/etc", ""):
        for endpoint in ("/v1/classify", "/v1/explain"):
            answer = client.post(endpoint, params={"model": name}, content=png, headers=PNG)
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "unknown_model"


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/explain"])
@pytest.mark.parametrize(
    ("charset", "status"),
    [
        ("utf-8", 200),
        ("ASCII", 200),
        ("latin-1", 200),
        ("undefined", 400),
        ("utf-7", 400),
        ("x", 400),
    ],
)
def test_a_form_may_name_a_charset_that_forms_have(client, png, path, charset, status):
    """Bytes that are no character in it are no reason to refuse a picture."""
    kind = f"multipart/form-data; boundary=b; charset={charset}"
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xc3.png"\r\n\r\n'
    body = part + png + b"\r\n"
    if path == "/v1/classify":
        body *= 2
    answer = client.post(path, content=body + b"--b--\r\n", headers={"content-type": kind})
    assert answer.status_code == status
    if status == 400:
        assert answer.json()["error"]["code"] == "invalid_form"


def test_a_form_that_breaks_off_is_refused_whole(client, png):
    """Its last picture may be cut short; what came before is not answered as if it were all."""
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    whole = (part + png + b"\r\n") * 2 + b"--b--"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    answer = client.post("/v1/classify", content=whole, headers=kind)
    assert len(answer.json()["results"]) == 2
    for cut in (len(whole) - 1, len(whole) - 5, len(part + png) + 40, len(part + png) - 9):
        answer = client.post("/v1/classify", content=whole[:cut], headers=kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_form"), cut


def test_the_charset_of_what_is_no_form_is_not_looked_at(client):
    sent = client.post(
        "/v1/classify", content=b"{}", headers={"content-type": "application/json; charset=utf-16"}
    )
    assert (sent.status_code, sent.json()["error"]["code"]) == (415, "unsupported_media_type")


def test_explain_by_another_method_and_layer(client, png, predictor):
    query = "?layer=layer2&method=gradcam%2B%2B&class_index=3"
    answer = client.post(f"/v1/explain{query}", content=png, headers={**PNG, **JSON}).json()
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    own = predictor.explain(
        fit_to_square(picture, 32), class_index=3, layer="layer2", method="gradcam++"
    )
    np.testing.assert_allclose(answer["map"], own.map, atol=1e-3)
    assert (answer["layer"], answer["method"]) == ("layer2", "gradcam++")


def test_a_request_id_comes_back(over_http, png):
    sent = over_http.post("/v1/classify", content=png, headers={**PNG, "x-request-id": "mine-7"})
    assert sent.headers["x-request-id"] == "mine-7"
    assert over_http.post("/v1/classify", content=png, headers=PNG).headers["x-request-id"]


def test_explain_answers_with_a_png_of_the_pictures_size(client, png):
    answer = client.post("/v1/explain", content=png, headers=PNG)
    assert answer.headers["content-type"] == "image/png"
    overlay = Image.open(io.BytesIO(answer.content))
    assert overlay.size == (96, 64)
    # Outside the centre square, which the network never saw, the picture is untouched.
    difference = np.asarray(overlay).astype(int) - np.asarray(Image.open(io.BytesIO(png)))
    assert (difference[:, :16] == 0).all() and (difference[:, 80:] == 0).all()
    assert np.abs(difference[:, 16:80]).max() > 50


def test_explain_as_json_is_the_models_own_map(client, png, predictor, expected):
    answer = client.post("/v1/explain?class_index=7", content=png, headers={**PNG, **JSON}).json()
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    own = predictor.explain(fit_to_square(picture, 32), class_index=7)
    np.testing.assert_allclose(answer["map"], own.map, atol=1e-3)
    assert (answer["class_index"], answer["label"], answer["layer"]) == (7, "7", "res2")
    assert answer["square"] == {"top": 0, "left": 16, "side": 64}
    assert answer["predictions"][0]["index"] == expected.argmax()


def test_explain_without_a_class_explains_the_best(client, png, expected):
    answer = client.post("/v1/explain", content=png, headers={**PNG, **JSON}).json()
    assert answer["class_index"] == expected.argmax()


def test_models_describes_what_is_served(client):
    (model,) = client.get("/v1/models").json()["models"]
    assert model["name"] == "two-workers"
    assert model["class_names"] == list("0123456789")
    assert model["image_size"] == 32 and "res2" in model["layers"]
    assert model["metrics"]["test_accuracy"] > 0.8


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health(client, path):
    assert client.get(path).json() == {"status": "ok"}


def test_the_openapi_page_documents_every_endpoint(client):
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    here = {"/v1/classify", "/v1/explain", "/v1/models", "/healthz", "/readyz"}
    assert {path for path in paths if not path.startswith("/v2")} - {"/metrics"} == here
    content = paths["/v1/classify"]["post"]["requestBody"]["content"]
    assert {"multipart/form-data", "image/png", "image/jpeg", "image/webp"} == set(content)
    everywhere = {"401", "429"}
    taking_bodies = everywhere | {"400", "404", "408", "413", "415", "422", "503"}
    for path, method, errors in (
        ("/v1/classify", "post", taking_bodies),
        ("/v1/explain", "post", taking_bodies),
        ("/v2/models/{name}/infer", "post", taking_bodies),
        ("/v1/models", "get", everywhere),
        ("/metrics", "get", everywhere),
    ):
        if path in paths:  # /metrics is where Ray is
            responses = paths[path][method]["responses"]
            assert set(responses) - {"200"} == errors, path
            assert "Retry-After" in responses["429"]["headers"]


@pytest.mark.parametrize("endpoint", ["/v1/classify", "/v1/explain"])
@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"content": b"", "headers": PNG}, 400, "empty_image"),
        ({"files": {"file": b"just some text"}}, 415, "unsupported_image"),
        ({"content": b"just some text", "headers": PNG}, 415, "unsupported_image"),
        ({"files": {"picture": b"wrong name"}}, 400, "missing_file"),
        ({"data": {"file": "not a file"}}, 415, "unsupported_media_type"),
        ({"content": b"x", "headers": TEXT}, 415, "unsupported_media_type"),
        ({"content": b"x", "headers": FORM}, 400, "invalid_form"),
        ({"content": bytes(11 * 2**20), "headers": PNG}, 413, "body_too_large"),
    ],
)  # fmt: skip
def test_what_is_no_picture_gets_a_4xx_in_the_one_error_shape(
    client, endpoint, request_, status, code
):
    answer = client.post(endpoint, **request_)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["code"] == code and error["message"]


def test_a_body_without_a_declared_length_is_limited_too(client):
    answer = client.post("/v1/classify", content=iter([bytes(2**20)] * 11), headers=PNG)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/classify?top_k=0", 422, "invalid_parameter"),
        ("POST", "/v1/classify?top_k=many", 422, "invalid_parameter"),
        ("POST", "/v1/explain?class_index=10", 422, "invalid_parameter"),
        ("POST", "/v1/explain?class_index=-1", 422, "invalid_parameter"),
        ("POST", "/v1/explain?layer=linear", 422, "invalid_parameter"),
        ("POST", "/v1/explain?opacity=2", 422, "invalid_parameter"),
        ("GET", "/v1/classify", 405, "method_not_allowed"),
        ("GET", "/v1/nothing", 404, "not_found"),
    ],
)
def test_bad_parameters_and_paths_are_refused(client, png, method, path, status, code):
    body = {"content": png, "headers": PNG} if method == "POST" else {}
    answer = client.request(method, path, **body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


def test_a_bad_picture_among_many_fails_alone(over_http, png):
    def send(i):
        content = b"not a picture" if i % 8 == 3 else png
        return over_http.post("/v1/classify", content=content, headers=PNG)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(64)))
    good = {
        json.dumps([p["label"] for p in a.json()["predictions"][:1]])
        for i, a in enumerate(answers)
        if i % 8 != 3
    }
    assert [a.status_code for i, a in enumerate(answers) if i % 8 == 3] == [415] * 8
    assert len(good) == 1


def test_answers_to_many_at_once_are_everyones_own(over_http, predictor):
    from cifar_model.sources import load_source

    test = load_source("digits").test

    def send(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        answer = over_http.post("/v1/classify?top_k=1", content=buffer.getvalue(), headers=PNG)
        return answer.json()["predictions"][0]["index"]

    with ThreadPoolExecutor(LEAST_INSIDE) as pool:  # so many are let in, however slow the machine
        found = list(pool.map(send, test.images[:96]))
    assert found == predictor.logits(test.images[:96]).argmax(1).tolist()


def test_a_request_stands_in_the_logs_once_it_is_answered(over_http, png):
    from ray._private.worker import global_worker

    name = f"looked-for-{time.time_ns()}"
    over_http.post("/v1/classify", content=png, headers={**PNG, "x-request-id": name})
    logs = Path(global_worker.node.get_session_dir_path()) / "logs" / "serve"
    deadline = time.monotonic() + 20
    while not any(name in log.read_text(errors="replace") for log in logs.rglob("*.log")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
