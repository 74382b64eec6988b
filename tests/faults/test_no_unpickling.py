"""Booby-trapped files where models, reports and checkpoints are expected: nothing in them runs."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cifar_model.errors import InputError
from cifar_model.model_folder import BUILT_IN, load_model
from cifar_model.predictor import Predictor
from cifar_model.report_folder import read_mistakes
from serve_app.app import read_arguments


class Trap:
    """Unpickling it creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    return tmp_path / "sprung"


def test_the_trap_is_one(mark):
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.exists()


def trapped_checkpoint(mark: Path) -> bytes:
    """A checkpoint as torch writes it, with the trap among its weights."""
    buffer = io.BytesIO()
    torch.save({"state_dict": {"network.linear.weight": Trap(mark)}, "epoch": 1}, buffer)
    return buffer.getvalue()


@pytest.fixture(params=["pickle", "checkpoint", "safetensors header"])
def trapped(request, mark) -> bytes:
    if request.param == "pickle":
        return pickle.dumps(Trap(mark))
    if request.param == "checkpoint":
        return trapped_checkpoint(mark)
    # A right header length, and then no JSON.
    body = pickle.dumps(Trap(mark), protocol=0)
    return len(body).to_bytes(8, "little") + body


@pytest.fixture
def folder(tmp_path: Path, trapped: bytes) -> Path:
    """The built-in model with the trap in the place of its weights."""
    copy = tmp_path / "model"
    shutil.copytree(BUILT_IN, copy, ignore=shutil.ignore_patterns("report"))
    (copy / "model.safetensors").write_bytes(trapped)
    return copy


@pytest.mark.parametrize("engine", ["torch", "openvino", "int8"])
def test_a_model_folder_is_never_unpickled(folder, mark, engine):
    for load in (
        load_model,
        lambda path: Predictor.load(path, engine=engine),
        lambda path: read_arguments({"model": str(path)}),
    ):
        with pytest.raises(InputError, match=r"model\.safetensors"):
            load(folder)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["model.ckpt", "model.safetensors", "config.json", "model.pt"])
def test_a_checkpoint_given_as_a_model_is_refused(tmp_path, mark, name):
    path = tmp_path / name
    path.write_bytes(trapped_checkpoint(mark))
    for given in (path, path.parent):
        with pytest.raises(InputError):
            read_arguments({"model": str(given)})
    assert not mark.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.ckpt", "model.pkl", "model.pt"])
def test_a_pickle_beside_the_weights_is_not_looked_at(tmp_path, mark, name):
    copy = tmp_path / "model"
    shutil.copytree(BUILT_IN, copy, ignore=shutil.ignore_patterns("report"))
    (copy / name).write_bytes(trapped_checkpoint(mark))
    Predictor.load(copy)
    assert not mark.exists()


@pytest.mark.parametrize("how", ["objects", "pickle", "pickled member"])
def test_a_report_is_never_unpickled(tmp_path, mark, how):
    path = tmp_path / "misclassified.npz"
    if how == "objects":
        np.savez(path, images=np.array([Trap(mark)], dtype=object), allow_pickle=True)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Trap(mark)))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("images.npy", pickle.dumps(Trap(mark)))
    with pytest.raises(InputError, match="misclassified"):
        read_mistakes(tmp_path)
    assert not mark.exists()


def test_resuming_never_unpickles_a_checkpoint(tmp_path, mark, monkeypatch, capsys):
    """A run killed after its first epoch, whose checkpoint someone has changed."""
    from cifar_model import training
    from jobs import train

    ended = training.fit

    def fit_then_die(*arguments, **options):
        ended(*arguments, **options)
        raise KeyboardInterrupt

    command = "--data digits --recipe digits --epochs 1 --train-limit 64 --workers 0 --name one"
    monkeypatch.setattr(training, "fit", fit_then_die)
    with pytest.raises(SystemExit):
        train.main([*command.split(), "--storage", str(tmp_path)])
    monkeypatch.undo()
    (checkpoint,) = (tmp_path / "one").rglob("*.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "extra": Trap(mark)}, checkpoint)
    with pytest.raises((SystemExit, pickle.UnpicklingError)):
        train.main(["--resume", "--workers", "0", "--name", "one", "--storage", str(tmp_path)])
    words = capsys.readouterr().err
    print(f"\nrefused with: {words.strip().splitlines()[-1] if words.strip() else words}")
    assert not mark.exists()
    assert not (tmp_path / "one" / "model").exists()


def test_a_configuration_holds_no_code(tmp_path, mark):
    copy = tmp_path / "model"
    shutil.copytree(BUILT_IN, copy, ignore=shutil.ignore_patterns("report"))
    config = json.loads((copy / "config.json").read_text())
    config["architecture"] = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError):
        load_model(copy)
    assert not mark.exists()
