"""What a search varies: fields of a Recipe, each over a range or a few values.

weight_decay=1e-5:1e-2:log    from 1e-5 to 1e-2, evenly in its logarithm
dropout=0:0.3                 from 0 to 0.3, evenly
batch_size=256,512            one of these
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cifar_model.errors import InputError
from cifar_model.recipe import Recipe, from_json

LR = "peak_lr"


@dataclass(frozen=True)
class Range:
    """Real numbers from lo to hi."""

    field: str
    lo: float
    hi: float
    log: bool

    def domain(self) -> Any:
        """The same for Ray Tune."""
        from ray import tune

        return (tune.loguniform if self.log else tune.uniform)(self.lo, self.hi)

    def ends(self) -> tuple[Any, ...]:
        """Values that are as extreme as any."""
        return self.lo, self.hi

    def centre(self, default: Any) -> Any:
        """The default if it lies inside, else the middle."""
        if self.lo <= default <= self.hi:
            return default
        return math.sqrt(self.lo * self.hi) if self.log else (self.lo + self.hi) / 2


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    field: str
    values: tuple[Any, ...]

    def domain(self) -> Any:
        """The same for Ray Tune."""
        from ray import tune

        return tune.choice(list(self.values))

    def ends(self) -> tuple[Any, ...]:
        """Values that are as extreme as any."""
        return self.values

    def centre(self, default: Any) -> Any:
        """The default if it is among them, else the first."""
        return default if default in self.values else self.values[0]


Dimension = Range | Choice


def parse_dimension(text: str) -> Dimension:
    """FIELD=LO:HI, FIELD=LO:HI:log or FIELD=VALUE,VALUE; InputError for anything else."""
    field, equals, values = text.partition("=")
    if not equals or not values:
        raise InputError(
            f"--search {text!r}: expected FIELD=LO:HI, FIELD=LO:HI:log or FIELD=VALUE,VALUE"
        )
    if field == LR:
        raise InputError("--search peak_lr: the learning rate is searched already; see --lr-band")
    if ":" not in values:
        return Choice(field, tuple(_value(value) for value in values.split(",")))
    parts = values.split(":")
    try:
        lo, hi = float(parts[0]), float(parts[1])
    except ValueError:
        raise InputError(f"--search {text!r}: LO and HI must be numbers") from None
    if parts[2:] not in ([], ["log"]):
        raise InputError(f"--search {text!r}: only 'log' may follow LO:HI")
    return band(f"--search {field}", field, lo, hi, log=len(parts) == 3)


def band(option: str, field: str, lo: float, hi: float, *, log: bool) -> Range:
    """A range; InputError for ends that are not finite, in this order, and positive for a log."""
    if not lo < hi or not math.isfinite(lo) or not math.isfinite(hi):
        raise InputError(
            f"{option}: {lo:g} to {hi:g}, expected two finite numbers, the smaller first"
        )
    if log and lo <= 0:
        raise InputError(f"{option}: {lo:g} has no logarithm; expected positive numbers")
    return Range(field, lo, hi, log)


def check_dimensions(recipe: Recipe, dimensions: Sequence[Dimension]) -> None:
    """InputError for a field that a recipe doesn't have or a value that it can't have."""
    seen: set[str] = set()
    for dimension in dimensions:
        if dimension.field in seen:
            raise InputError(f"--search {dimension.field}: given twice")
        if dimension.field in ("name", "epochs"):
            raise InputError(f"--search {dimension.field}: the same for all trials")
        seen.add(dimension.field)
        for value in dimension.ends():
            from_json({**recipe.to_json(), dimension.field: value})


def recipe_of(base: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe of a trial: the base with the trial's values."""
    others = {name: value for name, value in values.items() if name != LR}
    return replace(base.with_peak_lr(values[LR]), **others)


def centre(base: Recipe, dimensions: Sequence[Dimension]) -> dict[str, Any]:
    """The first trial's values: the base's own where the search reaches them."""
    return {d.field: d.centre(getattr(base, d.field)) for d in dimensions}


def _value(text: str) -> Any:
    """A number, true or false as JSON has them; any other word as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text
