"""Measure a model folder on the test set of its data, once, and write the report folder.

python -m jobs.evaluate --model runs/first/model --data digits

The test set has to fit in memory; training images that lie in files of their own are not read.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path

from cifar_model.dataset import TestSet
from cifar_model.errors import InputError, one_line_errors
from cifar_model.files import clear_asides_of
from cifar_model.first_few import first_few
from cifar_model.given_path import given_path
from cifar_model.history import HISTORY, read_history
from cifar_model.listing import OF_FILES
from cifar_model.model_config import CONFIG, ModelConfig, read_config
from cifar_model.model_folder import REPORT, update_metrics
from cifar_model.report_folder import REPORT_FILE
from cifar_model.sources import SOURCES, list_source, load_test_set
from cifar_model.weights import WEIGHTS
from jobs import storage
from jobs.held_folder import held


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.evaluate",
        description="Evaluate a model folder on a test set. "
        "The last line printed is the report folder.",
    )
    add = parser.add_argument
    add("--model", required=True, help="model folder or URI that jobs.train exported")
    add(
        "--data",
        help=f"{SOURCES} (default: what the model was trained on)",
    )
    add(
        "--out",
        help="report folder to write (default: MODEL/report; then the model's config and "
        "card get the test metrics too)",
    )
    add("--overwrite", action="store_true", help="replace a report that is there")
    options = parser.parse_args(arguments)
    with one_line_errors("jobs.evaluate"):
        if options.out and storage.is_uri(options.out):
            raise InputError(
                f"--out {options.out}: expected a folder; without --out the report of a model at a "
                "URI goes there"
            )
        out = None if options.out is None else given_path(options.out)
        if storage.is_uri(options.model):
            print(run_at(options.model, options.data, out, overwrite=options.overwrite))
        else:
            model = given_path(options.model)
            print(run(model, options.data, out, overwrite=options.overwrite))


def run_at(uri: str, data: str | None, out: Path | None, *, overwrite: bool) -> Path | str:
    """Evaluate a model on object storage; its report, config and card go back there."""
    with tempfile.TemporaryDirectory(prefix="evaluate-") as aside:
        model = Path(aside) / "model"
        storage.pull(uri, model)
        if not (model / CONFIG).is_file():
            raise InputError(f"--model {uri}: no model there (no {CONFIG})")
        if out is None and has_report(model) and not overwrite:
            raise InputError(
                f"{storage.join(uri, REPORT)} exists; add --overwrite to replace it, or choose "
                "another --out"
            )
        report = run(model, data, out, overwrite=overwrite)
        if out is not None:
            return report
        (model / WEIGHTS).unlink()  # unchanged: it need not go up again
        storage.push(model, uri)
        return storage.join(uri, REPORT)


def run(model: Path, data: str | None, out: Path | None, *, overwrite: bool) -> Path:
    """Evaluate and write; returns the report folder.

    Clears away what one that was killed has left.
    """
    config = read_config(model)
    folder = out or model / REPORT
    if not os.access(_first_existing(folder), os.W_OK):
        raise InputError(f"can't write to {folder}; choose another place with --out")
    with nullcontext() if out else held(model):
        return _evaluate(model, config, data, out, overwrite=overwrite)


def _evaluate(
    model: Path, config: ModelConfig, data: str | None, out: Path | None, *, overwrite: bool
) -> Path:
    folder = out or model / REPORT
    if out:
        clear_asides_of(out)
    if (folder.exists() if out else has_report(model)) and not overwrite:
        raise InputError(f"{folder} exists; add --overwrite to replace it, or choose another --out")
    if folder.exists() and not is_report(folder):
        raise InputError(f"{folder} is there and no report; choose another --out")
    history = read_history(model / HISTORY)
    spec = data or config.data.source
    dataset = load_test_set(spec, image_size=config.image_size)
    check_classes(config, dataset)
    fingerprint = dataset.test.fingerprint()
    if out is None:
        check_test_set(config, dataset.source, as_recorded(config, spec, fingerprint))

    from tqdm import tqdm

    from cifar_model.evaluation import evaluate, write_report
    from cifar_model.predictor import Predictor

    # PyTorch in float32: a report must not depend on what the machine computes natively.
    predictor = Predictor.load(model, engine="torch")
    with tqdm(total=len(dataset.test), unit="image", desc=f"evaluating {config.name}") as bar:
        evaluation = evaluate(predictor, dataset.test, progress=bar.update)
    about = {"model": config.name, "data": spec, "fingerprint": fingerprint}
    replace = overwrite or out is None
    write_report(folder, evaluation, dataset.test, history, about, replace=replace)
    if out is None:
        metrics = {"test_accuracy": evaluation.accuracy, "test_loss": evaluation.loss}
        if evaluation.flip_accuracy is not None:
            metrics["test_flip_accuracy"] = evaluation.flip_accuracy
        if evaluation.tta_auto_accuracy is not None and evaluation.reexamined is not None:
            metrics["test_tta_auto_accuracy"] = evaluation.tta_auto_accuracy
            metrics["test_tta_auto_reexamined"] = evaluation.reexamined
        update_metrics(model, metrics)
    flip = evaluation.flip_accuracy
    averaged = "" if flip is None else f" ({flip:.2%} averaged with the mirror image)"
    print(
        f"{config.name} on {len(dataset.test):,} test images of {spec}: "
        f"accuracy {evaluation.accuracy:.2%}{averaged}, loss {evaluation.loss:.4f} nats, "
        f"{len(evaluation.misclassified):,} misclassified"
    )
    return folder


def has_report(model: Path) -> bool:
    """Whether the model was evaluated to the end: its config learns of the report last."""
    return (model / REPORT).exists() and "test_accuracy" in read_config(model).metrics


def is_report(path: Path) -> bool:
    """Whether a report may take its place: a folder that is one, or empty."""
    return path.is_dir() and ((path / REPORT_FILE).is_file() or not any(path.iterdir()))


def check_classes(config: ModelConfig, dataset: TestSet) -> None:
    """InputError unless the data has the model's classes, in the model's order."""
    own, others = config.class_names, dataset.class_names
    if own != others:
        at = next(i for i, (a, b) in enumerate(zip_longest(own, others)) if a != b)
        raise InputError(
            f"model {config.name} has, from class {at} on, {first_few(own[at:]) or 'no more'}; "
            f"{dataset.source} has {first_few(others[at:]) or 'no more'}"
        )


def as_recorded(config: ModelConfig, spec: str, fingerprint: str) -> str:
    """The test set's fingerprint of the kind that the model's training took.

    fingerprint: over its pixels.
    """
    if not config.data.test_fingerprint.startswith(OF_FILES):
        return fingerprint
    try:
        return list_source(spec).test_fingerprint()
    except InputError:
        return fingerprint  # in no files of its own, so it is not what was streamed


def check_test_set(config: ModelConfig, source: str, fingerprint: str) -> None:
    """InputError unless these test images are those that the model's training set aside."""
    known = config.data.test_fingerprint
    if known and known != fingerprint:
        raise InputError(
            f"the test images of {source} are not those set aside when {config.name} was "
            "trained, which may have trained on some of them; with --out DIR there is a report on "
            "them that leaves the model's own config and card alone"
        )


def _first_existing(path: Path) -> Path:
    return next((parent for parent in path.parents if parent.exists()), path)


if __name__ == "__main__":
    main()
