"""Every figure, as PNG files. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.history import EpochRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
GRID_COLUMNS, GRID_ROWS = 6, 4
TRAIN_COLOUR, VAL_COLOUR = "#1f6fb4", "#d9661f"


def training_curves(path: Path, history: Sequence[EpochRecord]) -> None:
    """Loss and accuracy on the training and validation images, epoch by epoch."""
    figure, (loss, accuracy) = _figure(10, 4, columns=2)
    epochs = [record.epoch for record in history]
    for axes, name, unit in ((loss, "loss", "nats"), (accuracy, "accuracy", "%")):
        factor = 100 if unit == "%" else 1
        for part, colour in (("train", TRAIN_COLOUR), ("val", VAL_COLOUR)):
            values = [factor * getattr(record, f"{part}_{name}") for record in history]
            axes.plot(epochs, values, color=colour, marker="o", markersize=3, label=part)
        axes.set(xlabel="epoch", ylabel=f"{name} ({unit})", title=name.capitalize())
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    _save(figure, path)


def confusion_matrix(path: Path, counts: NDArray[np.int64], class_names: Sequence[str]) -> None:
    """Counts (K, K), row the true class, column the predicted one; shades are shares of a row."""
    size = max(5.0, 0.62 * len(class_names) + 2)
    figure, axes = _figure(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(len(class_names))
    axes.set_xticks(ticks, class_names, rotation=45, ha="right")
    axes.set_yticks(ticks, class_names)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    for row in ticks:
        for column in ticks:
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = str(counts[row, column])
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def misclassified_grid(
    path: Path,
    images: NDArray[np.uint8],
    true_names: Sequence[str],
    predicted_names: Sequence[str],
    confidence: NDArray[np.float32],
) -> None:
    """The first 24 misclassified images (N, S, S, 3) with true and predicted class."""
    shown = min(len(images), GRID_COLUMNS * GRID_ROWS)
    rows = max(1, -(-shown // GRID_COLUMNS))
    figure, grid = _figure(10, 2.0 * rows + 0.5, rows=rows, columns=GRID_COLUMNS, squeeze=False)
    for position, axes in enumerate(grid.flat):
        axes.axis("off")
        if position < shown:
            axes.imshow(images[position], interpolation="nearest")
            axes.set_title(
                f"{predicted_names[position]} {confidence[position]:.0%}\n"
                f"is {true_names[position]}",
                fontsize=9,
            )
    title = f"{shown} of {len(images)} misclassified images, the most confident first"
    figure.suptitle(title if shown else "No image was misclassified")
    _save(figure, path)


def range_test(
    path: Path,
    lrs: Sequence[float],
    losses: Sequence[float],
    smoothed: NDArray[np.float64],
    suggestion: float | None,
) -> None:
    """Loss against learning rate, with the suggested rate marked."""
    figure, axes = _figure(8, 4.5)
    axes.plot(lrs, losses, color=TRAIN_COLOUR, alpha=0.35, linewidth=1, label="of each step")
    axes.plot(lrs, smoothed, color=TRAIN_COLOUR, label="smoothed")
    if suggestion is not None:
        at = smoothed[list(lrs).index(suggestion)]
        axes.plot(suggestion, at, "o", color=VAL_COLOUR, label=f"suggested: {suggestion:.3g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss (nats)", title="Range test")
    # A diverging end would flatten all that matters.
    low, high = float(smoothed.min()), float(smoothed[: len(smoothed) // 3].max())
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def _figure(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A Figure of its own, not pyplot's: nothing global, so plots can be drawn in any thread.
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, **options)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
