"""Models to serve beside each other, made of one that is there."""

import json
import shutil

from cifar_model.model_folder import BUILT_IN


def add_model(folder, name, model=BUILT_IN, **changes):
    """Copy a model to this folder under another name, in the place of what is there; returns it.

    changes: of its config.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "name": name, **changes}))
    return folder
