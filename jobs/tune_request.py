"""What a search was asked for: its options, checked, and tune.json in its folder for --resume."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cifar_model.errors import InputError
from cifar_model.field_types import check_types
from cifar_model.files import write_json
from cifar_model.given_path import given_path
from cifar_model.recipe import Recipe, from_json, load_recipe, recipe_for
from cifar_model.run_plan import Precision, check_seed
from jobs import lr_find
from jobs.held_folder import held, is_begun
from jobs.resumed_options import check_same
from jobs.run_folder import check_free, default_name, run_folder
from jobs.search_space import LR, band
from jobs.storage import is_uri
from jobs.tune_report import REPORT

REQUEST = "tune.json"


@dataclass(frozen=True)
class Search:
    """What was asked for: enough to resume. It is tune.json."""

    recipe: Recipe  # its epochs are the budget of a trial
    data: str = "digits"
    image_size: int = 32
    train_limit: int | None = None
    trials: int = 12
    lr: float | None = None  # the middle of the band; None until the range test has said
    lr_band: tuple[float, float] | None = None  # None: a decade or so around lr
    decades: float = 1.0
    dimensions: tuple[str, ...] = ()  # --search, as given
    seed: int = 0
    precision: Precision = "auto"
    concurrent: int | None = None  # trials at a time; None until Ray has said how many fit
    fingerprint: str = ""  # of the data; "" in a search of before it was kept


def settle(options: argparse.Namespace) -> tuple[Search, Path]:
    """What to search and where; InputError for options that can't be, or not beside --resume."""
    if is_uri(options.storage):
        raise InputError(
            f"--storage {options.storage}: expected a folder that all workers can reach, such as "
            "one on NFS; the search keeps its own record there"
        )
    given = given_options(options)
    if options.resume:
        if options.name is None:
            raise InputError("--resume: say which search with --name")
        folder = run_folder(options.storage, options.name)
        search = read_request(folder)
        if options.epochs is not None:
            given["epochs"] = options.epochs
        if options.recipe is not None:
            recipe = load_recipe(options.recipe)
            given["recipe"] = replace(recipe, epochs=search.recipe.epochs)
        check_same("search", {**vars(search), "epochs": search.recipe.epochs}, given)
        return search, folder
    data = given.get("data", Search.data)
    recipe = recipe_for(data, options.recipe)
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    search = Search(recipe, **given)
    if search.lr and search.lr_band:
        raise InputError("--lr and --lr-band: give one of them")
    if search.lr_band and "decades" in given:
        raise InputError("--lr-decades and --lr-band: give one of them")
    name = options.name
    if name is None:
        name = default_name("tune", search.data.partition(":")[0], recipe.name)
    return search, run_folder(options.storage, name)


def given_options(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of a Search that options name, as far as they were given; checked."""
    if options.trials is not None and options.trials < 1:
        raise InputError(f"--trials {options.trials}: expected 1 or more")
    if options.concurrent is not None and options.concurrent < 1:
        raise InputError(f"--concurrent {options.concurrent}: expected 1 or more")
    if options.lr_decades is not None and not 0 < options.lr_decades <= 6:
        raise InputError(f"--lr-decades {options.lr_decades:g}: expected a number up to 6")
    if options.seed is not None:
        check_seed(options.seed)
    values = {
        "data": options.data,
        "image_size": options.image_size,
        "train_limit": options.train_limit,
        "trials": options.trials,
        "lr": given_lr(options.lr) if options.lr is not None else None,
        "lr_band": given_band(options.lr_band) if options.lr_band is not None else None,
        "decades": options.lr_decades,
        "dimensions": tuple(options.search) or None,
        "seed": options.seed,
        "precision": options.precision,
        "concurrent": options.concurrent,
    }
    return {name: value for name, value in values.items() if value is not None}


def given_lr(text: str) -> float:
    """--lr: a positive number, or the suggestion in an lr_find.json."""
    try:
        value = float(text)
    except ValueError:
        try:
            found = json.loads(given_path(text).read_text(encoding="utf-8"))["suggestion"]
            value = math.nan if found is None else float(found)
        except (OSError, ValueError, KeyError, TypeError):
            raise InputError(f"--lr {text}: neither a number nor an {lr_find.RESULT}") from None
        if found is None:
            raise InputError(f"--lr {text}: that range test suggested none") from None
    if not 0 < value < math.inf:
        raise InputError(f"--lr {text}: expected a positive number")
    return value


def given_band(text: str) -> tuple[float, float]:
    """--lr-band: LO:HI."""
    low, _, high = text.partition(":")
    try:
        lo, hi = float(low), float(high)
    except ValueError:
        raise InputError(f"--lr-band {text}: expected LO:HI, two numbers") from None
    band("--lr-band", LR, lo, hi, log=True)
    return lo, hi


def begin(folder: Path, search: Search) -> None:
    """Claim the folder for a new search; InputError if it is taken, or its disk too full."""
    if folder.exists() and (not folder.is_dir() or is_begun(folder)):
        raise _taken(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_free(folder, f"a search of {search.trials} trials", search.trials)
        with held(folder):
            if (folder / REQUEST).exists():  # since we looked
                raise _taken(folder)
            write_request(folder, search)
    except OSError as error:
        raise InputError(f"--storage: can't write to {folder}: {error}") from error


def _taken(folder: Path) -> InputError:
    return InputError(
        f"{folder} is there already; add --resume to go on with a search, or choose another --name"
    )


def write_request(folder: Path, search: Search) -> None:
    """Write tune.json."""
    write_json(folder / REQUEST, asdict(search))


def check_unfinished(folder: Path) -> None:
    """InputError if the search has ended."""
    if (folder / REPORT).exists():
        raise InputError(f"search {folder.name!r} has ended: see {folder / REPORT}")


def read_request(folder: Path) -> Search:
    """The search that an unfinished folder is about."""
    check_unfinished(folder)
    path = folder / REQUEST
    if not path.is_file():
        raise InputError(
            f"--resume: no search {folder.name!r} was begun in {folder.parent} (no {REQUEST}); "
            "without --resume it begins"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        band_given = values["lr_band"]
        search = Search(
            **{
                **values,
                "recipe": from_json(values["recipe"]),
                "lr_band": tuple(band_given) if band_given else None,
                "dimensions": tuple(values["dimensions"]),
            }
        )
        check_types(search, f"--resume: {path}")
        return search
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"--resume: {path} can't be used: {error}") from error
