"""The model folder: all that passes from training to serving.

    model.safetensors   weights and batch-norm statistics
    config.json         architecture, classes, normalisation, recipe, data, metrics, versions
    README.md           the model card
    history.csv         metrics of each epoch of training
    report/             what `jobs.evaluate` wrote, if it ran

Loading reads safetensors and JSON and never unpickles.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cifar_model.files import new_folder, write_json, write_whole
from cifar_model.history import HISTORY
from cifar_model.model_card import model_card
from cifar_model.model_config import CONFIG, ModelConfig, read_config
from cifar_model.weights import WEIGHTS, digest_of_weights, read_weights

if TYPE_CHECKING:
    from cifar_model.resnet9 import ResNet9

CARD, REPORT = "README.md", "report"
# The model that comes with the package.
BUILT_IN = Path(__file__).parent / "pretrained" / "resnet9-cifar10"
_PACKAGES = ("torch", "pytorch-lightning", "ray", "torchmetrics", "safetensors", "numpy")


def model_places(folder: Path) -> list[Path]:
    """The model folders in a folder of models or of runs: NAME and NAME/model, by name."""
    entries = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    places = (p for entry in entries for p in (entry, entry / "model"))
    return [p for p in places if (p / CONFIG).is_file()]


def export_model(
    folder: Path, network: ResNet9, config: ModelConfig, history: bytes, *, half: bool = False
) -> None:
    """Write a new model folder; it appears whole. FileExistsError if something is there.

    history: the content of the run's `history.csv`.
    half: store weights in float16, in half the space; they are loaded as float32 all the same.
    """
    from safetensors.torch import save

    versions = {name: version(name) for name in _PACKAGES}
    state = {
        # Norms and biases are small and some have a wide range: only filters are halved.
        name: (tensor.half() if half and tensor.ndim > 1 else tensor).contiguous()
        for name, tensor in network.state_dict().items()
    }
    weights = save(state, metadata={"format": "pt"})
    config = replace(config, versions=versions, weights_sha256=digest_of_weights(weights))
    with new_folder(folder) as aside:
        write_whole(aside / WEIGHTS, weights)
        write_whole(aside / HISTORY, history)
        _write_texts(aside, config)


def update_metrics(folder: Path, metrics: dict[str, float]) -> None:
    """Add or replace metrics in a model folder's config and card."""
    config = read_config(folder)
    _write_texts(folder, replace(config, metrics={**config.metrics, **metrics}))


def load_model(folder: Path) -> tuple[ResNet9, ModelConfig]:
    """The network, in evaluation mode and float32, with its config.

    Raises InputError, one line, when a file is missing, damaged or doesn't fit the others.
    """
    config = read_config(folder)
    tensors = read_weights(folder, config)
    import torch

    from cifar_model.resnet9 import ResNet9

    network = ResNet9(len(config.class_names), logit_scale=config.recipe.logit_scale)
    network.load_state_dict({name: torch.from_numpy(t) for name, t in tensors.items()})
    return network.eval().to(memory_format=torch.channels_last), config


def _write_texts(folder: Path, config: ModelConfig) -> None:
    # The config comes last: it says that all is there.
    write_whole(folder / CARD, model_card(config.to_json()).encode())
    write_json(folder / CONFIG, config.to_json())
