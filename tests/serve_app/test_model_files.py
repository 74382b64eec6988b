"""Models that come, change and break while they are served."""

import asyncio
import json
import shutil

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from starlette.testclient import TestClient

from cifar_model.model_folder import BUILT_IN
from cifar_model.predictor import Predictor
from serve_app import catalog as catalogs
from serve_app import model_files
from serve_app.api import build_api
from serve_app.backends import InProcess, Running
from serve_app.catalog import Catalog
from serve_app.images import encode_png
from serve_app.model_files import ModelFiles, unavailable
from serve_app.problems import Problem
from serve_app.web import build_web
from tests.models import add_model

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def png():
    """A picture."""
    return encode_png(np.full((40, 30, 3), 99, np.uint8))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing is remembered for a while."""
    monkeypatch.setattr(catalogs, "RESCAN_SECONDS", 0.0)
    monkeypatch.setattr(model_files, "TRIED_AGAIN_AFTER_S", 0.0)


def cut_short(folder):
    """Leave half of the weights, as a copy does that is under way."""
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


@pytest.fixture
def models(tmp_path):
    """A folder of models, served over loaders as the replicas' are."""
    return Catalog(BUILT_IN, tmp_path)


@pytest.fixture
def client(models):
    files = ModelFiles(models)

    async def find(name):
        if not await files.in_order(name):
            raise unavailable(name)
        return Running(Predictor.load(models.folders[name]))

    with TestClient(build_api(InProcess.on_demand(models, find, files.in_order))) as client:
        yield client


def test_a_model_whose_weights_are_damaged_is_unavailable_until_they_are_whole(
    client, tmp_path, png
):
    cut_short(add_model(tmp_path / "late", "late"))
    answer = client.post("/v1/classify?model=late", content=png, headers=PNG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert "retry-after" in answer.headers and str(tmp_path) not in answer.text
    assert client.get("/v2/models/late/ready").status_code == 503
    assert client.get("/v2/models/nobody/ready").status_code == 404
    assert client.post("/v1/classify", content=png, headers=PNG).status_code == 200

    add_model(tmp_path / "late", "late")
    assert client.get("/v2/models/late/ready").json() == {"name": "late", "ready": True}
    assert client.post("/v1/classify?model=late", content=png, headers=PNG).status_code == 200


def test_a_model_that_appears_is_listed_before_anyone_asks_for_it(client, tmp_path):
    add_model(tmp_path / "late", "late")
    names = [model["name"] for model in client.get("/v1/models").json()["models"]]
    assert names == ["resnet9-cifar10", "late"]


def test_a_model_exported_anew_answers_with_its_new_classes(client, tmp_path, png):
    def classes():
        answer = client.post("/v1/classify?model=again&top_k=10", content=png, headers=PNG).json()
        return {prediction["label"] for prediction in answer["predictions"]}

    add_model(tmp_path / "again", "again")
    assert "cat" in classes()
    add_model(tmp_path / "again", "again", class_names=[f"class {i}" for i in range(10)])
    assert classes() == {f"class {i}" for i in range(10)}


def test_a_folder_that_holds_another_model_by_now_answers_under_that_name_alone(
    client, tmp_path, png
):
    def status(name):
        return client.post(f"/v1/classify?model={name}", content=png, headers=PNG).status_code

    add_model(tmp_path / "here", "a")
    assert status("a") == 200
    add_model(tmp_path / "here", "b")
    assert (status("a"), status("b")) == (503, 200)
    add_model(tmp_path / "here", "resnet9-cifar10")
    assert (status("a"), status("b")) == (503, 503)
    add_model(tmp_path / "there", "a")
    assert (status("a"), status("b")) == (200, 503)


@pytest.mark.parametrize(
    "changes",
    [
        {"class_names": [f"class {i}" for i in range(10)]},
        {"architecture": {"network": "resnet9", "num_classes": 10, "image_size": 64}},
    ],
)
@pytest.mark.parametrize("endpoint", ["classify", "explain"])
def test_what_is_asked_while_a_model_changes_is_not_answered_as_if_it_had_not(
    models, tmp_path, png, changes, endpoint
):
    """It is exported anew after the request's parameters were read."""

    async def find(name):
        add_model(tmp_path / "again", "again", **changes)
        models.rescan()
        return Running(Predictor.load(models.folders[name]))

    async def usable(name):
        return True

    add_model(tmp_path / "again", "again")
    with TestClient(build_api(InProcess.on_demand(models, find, usable))) as client:
        answer = client.post(f"/v1/{endpoint}?model=again", content=png, headers=PNG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")


def test_pictures_framed_for_the_model_before_are_kept_from_the_one_that_answers():
    """Whoever asks by handle may know less of the models than the replica."""
    backend = InProcess({"resnet9-cifar10": Predictor.load(BUILT_IN)})

    async def ask(side):
        return await backend.logits(np.zeros((2, side, side, 3), np.uint8))

    async def scenario():
        return await asyncio.gather(ask(32), ask(40), ask(32), return_exceptions=True)

    one, refused, other = asyncio.run(scenario())
    assert one.shape == other.shape == (2, 10)
    assert (refused.status, refused.code) == (503, "model_unavailable")


def test_a_loaded_model_whose_folder_holds_another_by_now_is_not_explained_from_that(tmp_path, png):
    """Other layers than the default are read when they are first asked for."""

    def explain(layer):
        answer = client.post(f"/v1/explain?layer={layer}", content=png, headers=PNG)
        return answer.status_code, answer.headers["content-type"], answer.content

    folder = add_model(tmp_path / "a", "a")
    with TestClient(build_api(InProcess({"a": Predictor.load(folder)}))) as client:
        for change in (lambda: add_model(folder, "a", seed=1), lambda: shutil.rmtree(folder)):
            change()
            status, _, content = explain("layer2")
            assert (status, json.loads(content)["error"]["code"]) == (503, "model_unavailable")
            assert str(tmp_path) not in content.decode()
            assert explain("res2")[0] == 200
        # Evaluated, it is the same model.
        add_model(folder, "a", metrics={"test_accuracy": 0.5})
        assert explain("layer2")[:2] == (200, "image/png")


def test_the_version_changes_with_any_file(models, tmp_path):
    add_model(tmp_path / "a", "a")
    models.rescan()
    first = models.version("a")
    cut_short(tmp_path / "a")
    models.rescan()
    assert models.version("a") != first


def test_a_name_that_only_the_asker_knows_is_an_unknown_model(models):
    with pytest.raises(Problem) as problem:
        asyncio.run(ModelFiles(models).in_order("nobody"))
    assert problem.value.status == 404


def test_what_nobody_foresaw_is_a_500_that_tells_nothing(models, png, caplog):
    async def find(name):
        raise RuntimeError("a secret")

    async def usable(name):
        return True

    with TestClient(build_api(InProcess.on_demand(models, find, usable))) as client:
        one = client.post("/v1/classify", content=png, headers=PNG)
        request = {
            "inputs": [
                {"name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 3]}
            ]
        }
        two = client.post("/v2/models/resnet9-cifar10/infer", json=request)
    assert (one.status_code, one.json()["error"]["code"]) == (500, "internal_error")
    assert (two.status_code, two.json()["code"]) == (500, "internal_error")
    assert "secret" not in one.text + two.text and "a secret" in caplog.text
    assert one.headers["x-content-type-options"] == "nosniff"


def test_the_page_says_nothing_of_what_nobody_foresaw(models, png, tmp_path, run_server, caplog):
    async def find(name):
        raise RuntimeError("a secret")

    async def usable(name):
        return True

    (tmp_path / "digit.png").write_bytes(png)
    backend = InProcess.on_demand(models, find, usable)
    folders = {"resnet9-cifar10": BUILT_IN}
    with run_server(build_web(build_api(backend), backend, folders)) as address:
        page = Client(address, verbose=False)
        with pytest.raises(AppError) as shown:
            page.predict(picture_path=handle_file(tmp_path / "digit.png"), api_name="/classify")
    assert "secret" not in str(shown.value)


def test_a_server_whose_replicas_do_not_answer_is_not_ready(models):
    class Silent(InProcess):
        async def ready(self, model=None):
            return False

    with TestClient(build_api(Silent.on_demand(models, None, None))) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert int(answer.headers["retry-after"]) >= 1
