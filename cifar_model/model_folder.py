"""The model folder: all that passes from training to serving.

    model.safetensors   weights and batch-norm statistics
    config.json         architecture, classes, normalisation, recipe, data, metrics, versions
    README.md           the model card
    history.csv         metrics of each epoch of training
    report/             what `jobs.evaluate` wrote, if it ran

Loading reads safetensors and JSON and never unpickles.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cifar_model.data_record import DataRecord
from cifar_model.errors import InputError
from cifar_model.files import new_folder, write_whole
from cifar_model.model_card import model_card
from cifar_model.normalisation import Normalisation
from cifar_model.recipe import Recipe, from_json
from cifar_model.resnet9 import ResNet9

FORMAT = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
HISTORY, REPORT = "history.csv", "report"
_PACKAGES = ("torch", "pytorch-lightning", "ray", "torchmetrics", "safetensors", "numpy")


@dataclass(frozen=True)
class ModelConfig:
    """What `config.json` says."""

    name: str
    class_names: tuple[str, ...]
    image_size: int
    normalisation: Normalisation
    recipe: Recipe
    seed: int
    data: DataRecord
    metrics: dict[str, float]  # of the last epoch, and `test_*` once evaluated
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`."""
        architecture = {
            "network": "resnet9",
            "num_classes": len(self.class_names),
            "image_size": self.image_size,
            "logit_scale": self.recipe.logit_scale,
        }
        return {
            "format": FORMAT,
            "name": self.name,
            "architecture": architecture,
            "class_names": list(self.class_names),
            "normalisation": asdict(self.normalisation),
            "recipe": self.recipe.to_json(),
            "seed": self.seed,
            "data": asdict(self.data),
            "metrics": self.metrics,
            "versions": self.versions,
        }


def export_model(folder: Path, network: ResNet9, config: ModelConfig, history: bytes) -> None:
    """Write a new model folder; it appears whole. FileExistsError if something is there.

    history: the content of the run's `history.csv`.
    """
    versions = {name: version(name) for name in _PACKAGES}
    config = replace(config, versions=versions)
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    with new_folder(folder) as aside:
        save_file(state, aside / WEIGHTS, metadata={"format": "pt"})
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
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"model {folder}: no {WEIGHTS}")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"model {folder}: {WEIGHTS} is damaged: {error}") from error
    network = ResNet9(len(config.class_names), logit_scale=config.recipe.logit_scale)
    expected = {name: tuple(t.shape) for name, t in network.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in state.items()}
    if expected != found:
        wrong = sorted(expected.items() ^ found.items())[0][0]
        raise InputError(
            f"model {folder}: {WEIGHTS} does not fit config.json: {wrong} is "
            f"{found.get(wrong, 'missing')}, expected {expected.get(wrong, 'no such tensor')}"
        )
    network.load_state_dict(state)
    return network.eval().to(memory_format=torch.channels_last), config  # type: ignore[call-overload]


def read_config(folder: Path) -> ModelConfig:
    """The config of a model folder alone; InputError, one line, if it can't be used."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise InputError(f"model: no folder at {folder.absolute()}")
    if not path.is_file():
        raise InputError(f"model {folder}: no {CONFIG}; is it a folder that jobs.train exported?")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise InputError(
                f"model {folder}: format {values['format']}, this version reads {FORMAT}"
            )
        normalisation = values["normalisation"]
        return ModelConfig(
            name=str(values["name"]),
            class_names=tuple(str(name) for name in values["class_names"]),
            image_size=int(values["architecture"]["image_size"]),
            normalisation=Normalisation(
                tuple(map(float, normalisation["mean"])),  # type: ignore[arg-type]
                tuple(map(float, normalisation["std"])),  # type: ignore[arg-type]
            ),
            recipe=from_json(values["recipe"]),
            seed=int(values["seed"]),
            data=DataRecord(**values["data"]),
            metrics={str(k): float(v) for k, v in values["metrics"].items()},
            versions=dict(values["versions"]),
        )
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise InputError(f"model {folder}: {CONFIG} can't be used: {detail}") from error


def _write_texts(folder: Path, config: ModelConfig) -> None:
    text = json.dumps(config.to_json(), indent=2) + "\n"
    write_whole(folder / CONFIG, text.encode())
    write_whole(folder / CARD, model_card(config.to_json()).encode())
