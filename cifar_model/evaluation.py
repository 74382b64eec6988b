"""A model measured on a test set, and the report folder that says how it did.

report.json            accuracy (and with the mirror image's logits averaged in, for all images and
                       for the unsure ones, where mirror images belong to the recipe), loss,
                       per-class accuracy, confusion matrix
predictions.csv        one line an image: index, true, predicted, confidence, true_probability
misclassified.npz      the misclassified images with the same columns, most confident first
training_curves.png  confusion_matrix.png  misclassified.png
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifar_model import plots
from cifar_model.dataset import LabelledImages
from cifar_model.files import new_folder, write_json
from cifar_model.history import EpochRecord
from cifar_model.predictor import Predictor, softmax
from cifar_model.report_folder import MISTAKES_FILE, REPORT_FILE
from cifar_model.tta import mirrored, mirrors_help, sure_from, unsure

BATCH = 256  # images a forward pass


@dataclass(frozen=True)
class Evaluation:
    """What a model said of N labelled images of K classes; everything else follows from it."""

    class_names: tuple[str, ...]
    labels: NDArray[np.int64]  # (N,)
    logits: NDArray[np.float32]  # (N, K)
    mirrored_logits: NDArray[np.float32] | None = None  # (N, K) of the mirror images
    sure: float = 1.0  # of `tta.sure_from`

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of each class for each image, (N, K), 0..1."""
        return softmax(self.logits)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The most probable class of each image, (N,)."""
        return self.logits.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is the true one, 0..1."""
        return float((self.predicted == self.labels).mean())

    @property
    def flip_accuracy(self) -> float | None:
        """Accuracy with the logits of image and mirror image averaged, if both are there."""
        if self.mirrored_logits is None:
            return None
        predicted = (self.logits + self.mirrored_logits).argmax(axis=1)
        return float((predicted == self.labels).mean())

    @property
    def reexamined(self) -> float | None:
        """Share of the images that `tta.unsure` picks, if the mirror images are there."""
        if self.mirrored_logits is None:
            return None
        return float(unsure(self.probabilities, self.sure).mean())

    @property
    def tta_auto_accuracy(self) -> float | None:
        """Accuracy with the mirror image's logits averaged in for the unsure images alone."""
        if self.mirrored_logits is None:
            return None
        averaged = (self.logits + self.mirrored_logits).argmax(axis=1)
        predicted = np.where(unsure(self.probabilities, self.sure), averaged, self.predicted)
        return float((predicted == self.labels).mean())

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats."""
        shifted = self.logits - self.logits.max(axis=1, keepdims=True).astype(np.float64)
        own = np.take_along_axis(shifted, self.labels[:, None], axis=1)[:, 0]
        return float((np.log(np.exp(shifted).sum(axis=1)) - own).mean())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) counts: row the true class, column the predicted one."""
        count = len(self.class_names)
        pairs = self.labels * count + self.predicted
        return np.bincount(pairs, minlength=count * count).reshape(count, count)

    @property
    def misclassified(self) -> NDArray[np.int64]:
        """Indices of the wrongly classified images, the most confident mistake first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        confidence = self.probabilities.max(axis=1)[wrong]
        return wrong[np.argsort(-confidence, kind="stable")]

    def to_json(self) -> dict[str, Any]:
        """The content of report.json."""
        confusion = self.confusion
        per_class = confusion.diagonal() / confusion.sum(axis=1)
        return {
            "images": len(self.labels),
            "accuracy": self.accuracy,
            "flip_accuracy": self.flip_accuracy,
            "tta_auto_accuracy": self.tta_auto_accuracy,
            "tta_auto_reexamined": self.reexamined,
            "loss": self.loss,
            "misclassified": len(self.misclassified),
            "per_class_accuracy": dict(zip(self.class_names, per_class.tolist(), strict=True)),
            "confusion_matrix": confusion.tolist(),
            "class_names": list(self.class_names),
        }


def evaluate(
    predictor: Predictor,
    test: LabelledImages,
    *,
    progress: Callable[[int], object] = lambda images: None,
) -> Evaluation:
    """Run the model over all images once.

    Where mirror images belong to what it was trained on, it runs over those too.

    progress: called after each batch with its number of images.
    """
    plain, mirror_images = [], []
    mirrors = mirrors_help(predictor.config.recipe)
    for start in range(0, len(test), BATCH):
        batch = test.images[start : start + BATCH]
        plain.append(predictor.logits(batch))
        if mirrors:
            mirror_images.append(predictor.logits(mirrored(batch)))
        progress(len(batch))
    return Evaluation(
        predictor.class_names,
        test.labels,
        np.concatenate(plain),
        np.concatenate(mirror_images) if mirrors else None,
        sure_from(predictor.config.recipe, len(predictor.class_names)),
    )


def write_report(
    folder: Path,
    evaluation: Evaluation,
    test: LabelledImages,
    history: list[EpochRecord],
    about: dict[str, Any],
    *,
    replace: bool = False,
) -> None:
    """Write a report folder; it appears whole.

    FileExistsError if something is there, unless `replace`.

    about: what else report.json says: which model and data this was.
    """
    probabilities, predicted = evaluation.probabilities, evaluation.predicted
    confidence = probabilities.max(axis=1)
    own = np.take_along_axis(probabilities, evaluation.labels[:, None], axis=1)[:, 0]
    wrong = evaluation.misclassified
    columns = {
        "index": np.arange(len(test)),
        "true": evaluation.labels,
        "predicted": predicted,
        "confidence": confidence,
        "true_probability": own,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    lines = [",".join(columns)] + [
        f"{i},{true},{guess},{p:.6f},{q:.6f}" for i, true, guess, p, q in rows
    ]
    with new_folder(folder, replace=replace) as aside:
        write_json(aside / REPORT_FILE, {**about, **evaluation.to_json()})
        (aside / "predictions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        np.savez_compressed(
            aside / MISTAKES_FILE,
            images=test.images[wrong],
            **{name: column[wrong] for name, column in columns.items()},
        )
        names = evaluation.class_names
        plots.confusion_matrix(aside / "confusion_matrix.png", evaluation.confusion, names)
        plots.misclassified_grid(
            aside / "misclassified.png",
            test.images[wrong],
            [names[i] for i in evaluation.labels[wrong]],
            [names[i] for i in predicted[wrong]],
            confidence[wrong],
        )
        if history:
            plots.training_curves(aside / "training_curves.png", history)
