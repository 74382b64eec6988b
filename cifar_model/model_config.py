"""What a model folder's config.json says; readable without PyTorch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cifar_model.data_record import DataRecord
from cifar_model.errors import InputError
from cifar_model.normalisation import Normalisation
from cifar_model.recipe import Recipe, from_json

FORMAT = 1
CONFIG = "config.json"
SIDES = range(8, 4097)  # of the images, in pixels: a damaged number must not ask for gigabytes


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
    note: str = ""  # what else a reader of the card should know
    weights_sha256: str = ""  # of model.safetensors; "" in a model of before it was kept

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
            "note": self.note,
            "weights_sha256": self.weights_sha256,
        }


def same_model(one: ModelConfig, other: ModelConfig) -> bool:
    """Whether these are configs of one model, which may have been evaluated in between."""
    return replace(one, metrics={}) == replace(other, metrics={})


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
        normalisation, side = values["normalisation"], int(values["architecture"]["image_size"])
        if side not in SIDES:
            raise InputError(
                f"model {folder}: image_size {side} in {CONFIG}, expected {SIDES[0]} to {SIDES[-1]}"
            )
        return ModelConfig(
            name=str(values["name"]),
            class_names=tuple(str(name) for name in values["class_names"]),
            image_size=side,
            normalisation=Normalisation(
                tuple(map(float, normalisation["mean"])),  # type: ignore[arg-type]
                tuple(map(float, normalisation["std"])),  # type: ignore[arg-type]
            ),
            recipe=from_json(values["recipe"]),
            seed=int(values["seed"]),
            data=DataRecord(**values["data"]),
            metrics={str(k): float(v) for k, v in values["metrics"].items()},
            versions=dict(values["versions"]),
            note=str(values.get("note", "")),
            weights_sha256=str(values.get("weights_sha256", "")),
        )
    except InputError:
        raise
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError,
    ) as error:  # fmt: skip
        detail = f"{type(error).__name__}: {error}"
        raise InputError(f"model {folder}: {CONFIG} can't be used: {detail}") from error
