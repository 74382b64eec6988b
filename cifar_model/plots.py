"""Every figure, as PNG files. Matplotlib is imported when the first one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cifar_model.history import EpochRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 120
GRID_COLUMNS, GRID_ROWS = 6, 4
MOST_INCHES = 20.0  # of a figure whose content grows with the data
LONGEST_LABEL = 30  # characters
READABLE_CLASSES = 60  # that have room for their names and counts in it
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
    """Counts (K, K), row the true class, column the predicted one; shades are shares of a row.

    Of many classes the shades alone, with the classes' numbers at some ticks.
    """
    size = min(MOST_INCHES, max(5.0, 0.62 * len(class_names) + 2))
    figure, axes = _figure(size, size)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix")
    if len(class_names) <= READABLE_CLASSES:
        _write_counts(axes, counts, shares, class_names)
    _save(figure, path)


def _write_counts(
    axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], class_names: Sequence[str]
) -> None:
    ticks = range(len(class_names))
    names = [_class_label(name) for name in class_names]
    axes.set_xticks(ticks, names, rotation=45, ha="right")
    axes.set_yticks(ticks, names)
    for row in ticks:
        for column in ticks:
            if counts[row, column]:
                colour = "white" if shares[row, column] > 0.5 else "black"
                text = str(counts[row, column])
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)


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
                f"{_class_label(predicted_names[position])} {confidence[position]:.0%}\n"
                f"is {_class_label(true_names[position])}",
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
    low, high = float(smoothed.min()), float(smoothed[: max(1, len(smoothed) // 3)].max())
    axes.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def accuracy_by_lr(
    path: Path, trials: Sequence[tuple[float, float, str]], middle_lr: float | None
) -> None:
    """Val accuracy against learning rate, a point a trial: (rate, accuracy, status)."""
    figure, axes = _figure(8, 4.5)
    for status, marker in (("ended", "o"), ("stopped early", "v"), ("failed", "x")):
        points = [(lr, 100 * accuracy) for lr, accuracy, own in trials if own == status]
        if points:
            axes.scatter(*zip(*points, strict=True), marker=marker, color=VAL_COLOUR, label=status)
    if middle_lr is not None:
        label = f"searched around: {middle_lr:.3g}"
        axes.axvline(middle_lr, color=TRAIN_COLOUR, linestyle="--", label=label)
    axes.set(xscale="log", xlabel="peak learning rate", ylabel="val accuracy (%)")
    axes.set_title("Trials")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def trial_curves(path: Path, trials: Sequence[tuple[Sequence[float], bool]]) -> None:
    """Val accuracy of every trial, epoch by epoch: (accuracies, whether it is the best)."""
    figure, axes = _figure(8, 4.5)
    for accuracies, best in sorted(trials, key=lambda trial: trial[1]):
        axes.plot(
            range(len(accuracies)),
            [100 * accuracy for accuracy in accuracies],
            color=VAL_COLOUR if best else TRAIN_COLOUR,
            alpha=1 if best else 0.4,
            marker="o",
            markersize=3,
            label="best" if best else None,
        )
    axes.set(xlabel="epoch", ylabel="val accuracy (%)", title="Learning curves of all trials")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def parallel_coordinates(
    path: Path, values: Sequence[dict[str, Any]], accuracies: Sequence[float]
) -> None:
    """One line a trial through its values, coloured by val accuracy; each axis from low to high."""
    names = [*values[0], "val accuracy"] if values else ["val accuracy"]
    columns = [[row[name] for row in values] for name in names[:-1]] + [list(accuracies)]
    figure, axes = _figure(max(6.0, 2.0 * len(names)), 4.5)
    heights = [_heights(column) for column in columns]
    shades = np.asarray(heights[-1])
    for i in np.argsort(shades):
        line = [column[i] for column in heights]
        colour = (0.85 * (1 - shades[i]), 0.85 * (1 - shades[i]), 0.9)
        axes.plot(range(len(names)), line, color=colour, marker="o", markersize=3)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    for x, column in enumerate(columns):
        axes.axvline(x, color="black", linewidth=0.5)
        if column:
            axes.text(x, -0.08, _label(min(column, key=_order)), ha="center", fontsize=8)
            axes.text(x, 1.04, _label(max(column, key=_order)), ha="center", fontsize=8)
    axes.set(ylim=(-0.15, 1.15), title="Trials, the darker the better")
    for side in ("left", "right", "top", "bottom"):
        axes.spines[side].set_visible(False)
    _save(figure, path)


def _order(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else str(value)


def _label(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _heights(column: Sequence[Any]) -> list[float]:
    """Positions in 0..1: by logarithm where all are positive numbers, by order where words."""
    if not all(isinstance(value, (int, float)) for value in column):
        order = sorted({str(value) for value in column})
        return [order.index(str(value)) / max(1, len(order) - 1) for value in column]
    numbers = np.asarray(column, dtype=np.float64)
    if len(numbers) and numbers.min() > 0 and numbers.max() > 10 * numbers.min():
        numbers = np.log(numbers)
    span = np.ptp(numbers) if len(numbers) else 0.0
    return [0.5] * len(numbers) if span == 0 else list((numbers - numbers.min()) / span)


def _class_label(name: str) -> str:
    """A class's name, without its middle if it is long."""
    if len(name) > LONGEST_LABEL:
        name = f"{name[: LONGEST_LABEL - 11]}…{name[-10:]}"
    # Matplotlib takes what is between two dollars for a formula.
    return name.replace("$", r"\$")


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
