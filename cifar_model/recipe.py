"""A training recipe as one value: network options, optimiser, schedule and augmentation.

Recipes are data. `RECIPES` holds the named ones; `load_recipe` also reads a JSON file.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from cifar_model.errors import InputError
from cifar_model.field_types import check_types
from cifar_model.given_path import given_path

Optimizer = Literal["adam", "sgd", "muon"]
Anneal = Literal["cos", "linear"]
Augmentation = Literal["albumentations", "batched"]
Flip = Literal["none", "random", "alternating"]
Padding = Literal["constant", "reflect"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Lengths in pixels are for a 32x32 image and scale with its side.

    The learning rate follows a one-cycle (Smith and Topin, arXiv:1708.07120): from
    `peak_lr / start_divisor` up to `peak_lr` over the first `warmup_fraction` of all steps, then
    down to `peak_lr / start_divisor / final_divisor`.
    """

    name: str
    epochs: int
    batch_size: int  # images per optimiser step, over all workers together
    optimizer: Optimizer
    peak_lr: float
    momentum: float = 0.9  # Adam: beta1
    nesterov: bool = False  # SGD only
    auxiliary_lr: float = 0.1  # Muon only: peak rate of what is not a filter, by SGD
    auxiliary_momentum: float = 0.9
    bias_lr_factor: float = 1.0  # Muon only: times auxiliary_lr, for biases; their decay over it
    train_norm_scales: bool = True  # Muon only: False keeps batch norm's scales at 1
    weight_decay: float = 0.0  # L2, per step
    decay_biases_and_norms: bool = True
    label_smoothing: float = 0.0
    warmup_fraction: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4
    anneal: Anneal = "cos"
    dropout: float = 0.0
    logit_scale: float = 1.0
    augmentation: Augmentation = "batched"
    flip: Flip = "random"
    crop_padding: int = 4  # pixels added on each side before the random crop
    padding: Padding = "constant"
    cutout_size: int = 8  # side of the square hole; 0 = none
    cutout_probability: float = 0.0
    low_resolution: int = 32  # side that images are shrunk to in the first epochs
    low_resolution_share: float = 0.0  # of the epochs, rounded down to whole ones

    def __post_init__(self) -> None:
        check_types(self, "recipe")
        _check(self.epochs >= 1, "epochs", self.epochs, "a whole number from 1")
        _check(self.batch_size >= 2, "batch_size", self.batch_size, "a whole number from 2")
        _check(self.peak_lr > 0, "peak_lr", self.peak_lr, "a positive number")
        _check(self.auxiliary_lr > 0, "auxiliary_lr", self.auxiliary_lr, "a positive number")
        _check(self.bias_lr_factor > 0, "bias_lr_factor", self.bias_lr_factor, "a positive number")
        _check(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        if self.optimizer == "sgd" and self.nesterov:
            _check(self.momentum > 0, "momentum", self.momentum, "above 0 with nesterov")
        momentum = self.auxiliary_momentum
        _check(0 <= momentum < 1, "auxiliary_momentum", momentum, "in [0, 1)")
        _check(self.weight_decay >= 0, "weight_decay", self.weight_decay, "0 or more")
        _check(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        _check(0 < self.warmup_fraction < 1, "warmup_fraction", self.warmup_fraction, "in (0, 1)")
        _check(self.start_divisor >= 1, "start_divisor", self.start_divisor, "1 or more")
        _check(self.final_divisor >= 1, "final_divisor", self.final_divisor, "1 or more")
        _check(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        _check(self.logit_scale > 0, "logit_scale", self.logit_scale, "a positive number")
        _check(0 <= self.crop_padding <= 16, "crop_padding", self.crop_padding, "0 to 16")
        _check(0 <= self.cutout_size <= 32, "cutout_size", self.cutout_size, "0 to 32")
        _check(
            0 <= self.cutout_probability <= 1,
            "cutout_probability",
            self.cutout_probability,
            "in [0, 1]",
        )
        _check(8 <= self.low_resolution <= 32, "low_resolution", self.low_resolution, "8 to 32")
        _check(
            0 <= self.low_resolution_share <= 1,
            "low_resolution_share",
            self.low_resolution_share,
            "in [0, 1]",
        )
        if self.augmentation == "albumentations" and self.flip == "alternating":
            raise InputError(
                "recipe: flip 'alternating' needs augmentation 'batched': the albumentations "
                "pipeline has no memory of the epoch before"
            )

    def with_peak_lr(self, peak_lr: float) -> Recipe:
        """The same at another peak learning rate, Muon's auxiliary one in proportion."""
        auxiliary_lr = self.auxiliary_lr * peak_lr / self.peak_lr
        return replace(self, peak_lr=peak_lr, auxiliary_lr=auxiliary_lr)

    @property
    def small_epochs(self) -> int:
        """How many epochs, from the first on, see images at `low_resolution`."""
        return int(self.low_resolution_share * self.epochs + 1e-9)  # 0.7 of 90 are 63

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON-ready values; `from_json` gives an equal one back."""
        return asdict(self)


def from_json(values: Mapping[str, Any]) -> Recipe:
    """A recipe from the values of a JSON object; unknown or missing fields are `InputError`s."""
    known = [f.name for f in fields(Recipe)]
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
            raise InputError(f"recipe: unknown field {key!r}{hint}")
    required = ("name", "epochs", "batch_size", "optimizer", "peak_lr")
    missing = [key for key in required if key not in values]
    if missing:
        raise InputError(f"recipe: missing {', '.join(missing)}")
    return Recipe(**values)


def load_recipe(name_or_path: str) -> Recipe:
    """A named recipe, or one read from a JSON file; anything else is an `InputError`."""
    if name_or_path in RECIPES:
        return RECIPES[name_or_path]()
    path = given_path(name_or_path)
    if not path.is_file():
        raise InputError(
            f"recipe {name_or_path!r}: not one of {', '.join(sorted(RECIPES))}, "
            f"and no file at {path.absolute()}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"recipe {path}: not readable as JSON: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"recipe {path}: expected a JSON object, got {type(values).__name__}")
    return from_json(values)


def seed() -> Recipe:
    """The seed assignment's recipe: 24 epochs of Adam, one-cycle around its LR finder's 2.56e-3.

    Its document gives neither the dropout rate nor the shape of the cycle; those are ours.
    """
    return Recipe(
        name="seed",
        epochs=24,
        batch_size=512,
        optimizer="adam",
        peak_lr=2.56e-3,
        warmup_fraction=5 / 24,
        start_divisor=100.0,
        final_divisor=100.0,
        anneal="linear",
        dropout=0.05,
        augmentation="albumentations",
        flip="random",
        crop_padding=8,
        cutout_size=8,
        cutout_probability=0.2,
    )


def fast() -> Recipe:
    """Ten epochs of Muon, the first four on smaller images, with label smoothing, alternating flip
    and scaled logits.

    RESULTS.md says what it reaches and what its parts bring.
    """
    return Recipe(
        name="fast",
        epochs=10,
        batch_size=512,
        optimizer="muon",
        peak_lr=0.1,
        momentum=0.6,
        auxiliary_lr=0.3,
        weight_decay=5e-4,
        decay_biases_and_norms=False,
        label_smoothing=0.2,
        warmup_fraction=0.2,
        start_divisor=10.0,
        anneal="linear",
        logit_scale=0.125,
        flip="alternating",
        crop_padding=4,
        padding="reflect",
        low_resolution=24,
        low_resolution_share=0.4,
    )


def digits() -> Recipe:
    """For the embedded handwritten digits: few images, so small batches; never mirrored."""
    return Recipe(
        name="digits",
        epochs=6,
        batch_size=64,
        optimizer="sgd",
        peak_lr=0.1,
        nesterov=True,
        weight_decay=5e-4,
        decay_biases_and_norms=False,
        warmup_fraction=0.25,
        logit_scale=0.125,
        flip="none",
        crop_padding=3,
    )


RECIPES: dict[str, Callable[[], Recipe]] = {"seed": seed, "fast": fast, "digits": digits}
DEFAULT_RECIPE = "digits for digits, else seed"  # for --help


def default_recipe(data: str) -> Recipe:
    """What data, named as on the command line, is trained with if nothing else is asked."""
    return digits() if data == "digits" else seed()


def recipe_for(data: str, asked: str | None) -> Recipe:
    """The recipe that was asked for, by name or path; the data's default if none was."""
    return default_recipe(data) if asked is None else load_recipe(asked)


def _check(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise InputError(f"recipe: {field} is {value!r}, expected {expected}")
