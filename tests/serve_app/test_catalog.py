"""Which models are served, by name."""

import pytest

from cifar_model.errors import InputError
from cifar_model.model_folder import BUILT_IN
from serve_app import catalog as catalogs
from serve_app.catalog import Catalog
from tests.models import add_model


def test_the_default_comes_first_then_those_of_the_folder(tmp_path):
    add_model(tmp_path / "b", "b")
    add_model(tmp_path / "a" / "model", "a")
    catalog = Catalog(BUILT_IN, tmp_path)
    assert list(catalog) == ["resnet9-cifar10", "a", "b"]
    assert catalog["a"].name == "a" and catalog.folders["a"] == tmp_path / "a" / "model"


def test_what_is_hidden_is_not_served(tmp_path):
    add_model(tmp_path / ".old" / "model", "old")
    add_model(tmp_path / ".aside", "aside")
    assert list(Catalog(BUILT_IN, tmp_path)) == ["resnet9-cifar10"]


def test_a_model_that_appears_later_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogs, "RESCAN_SECONDS", 0.0)
    catalog = Catalog(BUILT_IN, tmp_path)
    assert not catalog.knows("late")
    add_model(tmp_path / "late", "late")
    assert catalog.knows("late") and "late" in catalog


def test_a_damaged_folder_keeps_no_other_from_being_served(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    add_model(tmp_path / "good", "good")
    assert list(Catalog(BUILT_IN, tmp_path)) == ["resnet9-cifar10", "good"]


def test_a_name_is_never_a_path(tmp_path):
    add_model(tmp_path / "outside", "outside")
    (tmp_path / "models").mkdir()
    catalog = Catalog(BUILT_IN, tmp_path / "models")
    assert not any(catalog.knows(name) for name in ("../outside", str(tmp_path / "outside"), ""))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        Catalog(BUILT_IN, tmp_path / "nowhere")
