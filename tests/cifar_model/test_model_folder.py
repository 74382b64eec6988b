"""A model folder comes back as it went out, and nothing else is taken for one."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from cifar_model.data_record import DataRecord
from cifar_model.errors import InputError
from cifar_model.model_config import ModelConfig, read_config
from cifar_model.model_folder import export_model, load_model, update_metrics
from cifar_model.normalisation import Normalisation
from cifar_model.recipe import load_recipe
from cifar_model.resnet9 import ResNet9

CONFIG = ModelConfig(
    name="made",
    class_names=("a", "b", "c"),
    image_size=32,
    normalisation=Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
    recipe=load_recipe("digits"),
    seed=0,
    data=DataRecord("digits", "0" * 64, 10, 2, 3),
    metrics={"val_accuracy": 0.5},
)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    export_model(tmp_path / "model", ResNet9(3), CONFIG, b"epoch\n")
    return tmp_path / "model"


def test_it_comes_back_as_it_went_out(folder):
    torch.manual_seed(0)
    original = ResNet9(3)
    network, config = load_model(folder)
    assert not network.training
    for name, value in original.state_dict().items():
        assert torch.equal(value, network.state_dict()[name])
    assert network.logit_scale == CONFIG.recipe.logit_scale
    found = {"versions": config.versions, "weights_sha256": config.weights_sha256}
    assert config == replace(CONFIG, **found)
    assert config.versions["torch"].startswith("2.")


def test_it_holds_the_files_that_are_promised(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "config.json", "README.md", "history.csv"}
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_the_card_says_what_it_is_and_changes_with_the_metrics(folder):
    card = (folder / "README.md").read_text()
    assert "# made" in card and "a, b, c" in card and "not been evaluated" in card
    update_metrics(folder, {"test_accuracy": 0.875})
    assert "accuracy is 87.50%" in (folder / "README.md").read_text()
    assert read_config(folder).metrics == {"val_accuracy": 0.5, "test_accuracy": 0.875}


def test_an_export_never_overwrites(folder):
    with pytest.raises(FileExistsError):
        export_model(folder, ResNet9(3), CONFIG, b"")


def edit_config(folder, **changes):
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: [p.unlink() for p in f.iterdir()], "no config.json"),
        (lambda f: [p.write_bytes(b"") for p in f.iterdir()], "config.json can't be used"),
        (lambda f: (f / "model.safetensors").unlink(), "no model.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "is damaged"),
        (
            lambda f: (f / "model.safetensors").write_bytes(
                (f / "model.safetensors").read_bytes()[:-100]
            ),
            "is damaged",
        ),
        (lambda f: edit_config(f, class_names=["a", "b"]), "linear.bias is .3,., expected .2,."),
        (lambda f: edit_config(f, format=2), "format 2, this version reads 1"),
        (lambda f: edit_config(f, recipe={}), "recipe: missing"),
        (lambda f: edit_config(f, metrics=None), "config.json can't be used"),
        (lambda f: edit_config(f, seed=float("inf")), "config.json can't be used"),
        (lambda f: edit_config(f, metrics={"val_loss": 10**400}), "config.json can't be used"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json can't be used"),
        (lambda f: edit_config(f, architecture={"image_size": 0}), "image_size 0"),
        (lambda f: edit_config(f, architecture={"image_size": 10**5}), "image_size 100000"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json can't be used"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(folder, damage, words):
    damage(folder)
    with pytest.raises(InputError, match=words):
        load_model(folder)


def test_a_missing_tensor_is_named(folder):
    state = load_file(folder / "model.safetensors")
    del state["linear.weight"]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"linear\.weight is missing"):
        load_model(folder)


def test_other_weights_than_those_exported_are_refused(folder):
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    hole = len(whole) // 2
    path.write_bytes(whole[:hole] + bytes(4096) + whole[hole + 4096 :])
    with pytest.raises(InputError, match="is not the one that was exported"):
        load_model(folder)
    edit_config(folder, weights_sha256="")  # as before it was kept
    load_model(folder)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no folder at"):
        load_model(tmp_path / "absent")


def test_half_precision_halves_the_file_and_hardly_changes_the_weights(folder, tmp_path):
    network, config = load_model(folder)
    export_model(tmp_path / "half", network, config, b"epoch\n", half=True)
    size, half = ((f / "model.safetensors").stat().st_size for f in (folder, tmp_path / "half"))
    assert half < 0.51 * size
    shrunk, _ = load_model(tmp_path / "half")
    for name, value in network.state_dict().items():
        other = shrunk.state_dict()[name]
        assert other.dtype == value.dtype
        assert torch.allclose(other, value, rtol=1e-3, atol=1e-6), name
