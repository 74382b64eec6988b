"""What a replica loads."""

import json
import shutil

import pytest

from cifar_model.errors import InputError
from cifar_model.model_folder import BUILT_IN
from serve_app.catalog import Catalog
from serve_app.deployments import load_served


def test_a_model_is_loaded_under_its_own_name_alone(tmp_path):
    """Its folder may come to hold another between a look at its files and the loading."""
    folder = shutil.copytree(BUILT_IN, tmp_path / "here")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "name": "a"}))
    catalog = Catalog(BUILT_IN, tmp_path)
    assert load_served(catalog, "a", threads=1).config.name == "a"
    (folder / "config.json").write_text(json.dumps({**config, "name": "b"}))
    with pytest.raises(InputError, match="holds b now"):
        load_served(catalog, "a", threads=1)
