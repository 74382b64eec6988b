"""What a replica loads."""

import pytest

from cifar_model.errors import InputError
from cifar_model.model_folder import BUILT_IN
from serve_app.catalog import Catalog
from serve_app.deployments import load_served
from tests.models import add_model


def test_a_model_is_loaded_under_its_own_name_alone(tmp_path):
    """Its folder may come to hold another between a look at its files and the loading."""
    add_model(tmp_path / "here", "a")
    catalog = Catalog(BUILT_IN, tmp_path)
    assert load_served(catalog, "a", threads=1).config.name == "a"
    add_model(tmp_path / "here", "b")
    with pytest.raises(InputError, match="holds b now"):
        load_served(catalog, "a", threads=1)
