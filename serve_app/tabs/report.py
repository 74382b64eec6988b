"""Report: training curves, the learning-rate test, the confusion matrix, classes and the card."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from cifar_model.errors import InputError
from cifar_model.history import HISTORY, EpochRecord, read_history
from cifar_model.model_config import ModelConfig
from cifar_model.model_folder import CARD, REPORT
from cifar_model.recipe import RECIPES
from cifar_model.report_folder import Report, read_report
from serve_app.backends import Backend
from serve_app.commands import how_to_evaluate, jobs_are_here
from serve_app.confusion_table import CSS, MOST_CLASSES, ON_LOAD, confusion_html
from serve_app.model_files import why_not_its_own
from serve_app.tabs.misclassified import MistakesTab

# Not in report/: jobs.evaluate replaces that folder as a whole.
LR_FIND = Path("lr_find", "lr_find.json")
COLOURS = {"training": "#3b82f6", "validation": "#f97316"}
LR_COLOURS = {"measured": "#94a3b8", "smoothed": "#3b82f6"}


def report_tab(
    backend: Backend,
    folders: Mapping[str, Path],
    model: gr.Dropdown,
    tabs: gr.Tabs,
    mistakes: MistakesTab,
) -> None:
    """Build the tab in the Blocks that is open."""

    def show(model_name: str) -> tuple[Any, ...]:
        config, folder = backend.models[model_name], folders[model_name]
        if reason := why_not_its_own(folder, config):
            hidden = gr.update(visible=False)
            return reason, *[hidden] * 5, "", hidden, ""
        # Each part reads a file of its own: a damaged one leaves the others to be seen.
        report, words = report_part(folder)
        loss, accuracy, training = training_part(folder)
        curve, lr_words = lr_part(config, folder)
        return (
            words + training,
            gr.LinePlot(loss, visible=loss is not None),
            gr.LinePlot(accuracy, visible=accuracy is not None),
            gr.Markdown(matrix_heading(report), visible=report is not None),
            gr.HTML(confusion_html(report) if report else "", visible=report is not None),
            gr.Dataframe(class_table(report), visible=report is not None),
            lr_words,
            gr.LinePlot(curve, visible=curve is not None),
            card(folder),
        )

    def open_cell(event: gr.EventData, model_name: str) -> tuple[gr.Tabs, str, str]:
        names = backend.models[model_name].class_names
        return gr.Tabs(selected="misclassified"), names[event.true], names[event.predicted]

    with gr.Tab("Report", id="report") as tab:
        words = gr.Markdown(elem_id="report-words")
        with gr.Row():
            loss = line_plot("Loss (nats)", "loss")
            accuracy = line_plot("Accuracy (%)", "accuracy")
        with gr.Row():
            with gr.Column(min_width=320):
                matrix_title = gr.Markdown()
                matrix = gr.HTML(css_template=CSS, js_on_load=ON_LOAD, elem_id="confusion")
            table = gr.Dataframe(
                headers=["class", "images", "accuracy (%)"],
                label="Classes",
                interactive=False,
                max_height=420,
                min_width=320,
                elem_id="per-class",
            )
        lr_text = gr.Markdown(elem_id="lr-words")
        lr_plot = gr.LinePlot(
            x="log10 of the learning rate",
            y="loss",
            color="line",
            color_map=LR_COLOURS,
            title="Learning-rate test: loss (nats)",
            show_label=False,
            height=260,
            elem_id="lr-plot",
        )
        with gr.Accordion("Model card", open=False):
            card_text = gr.Markdown(elem_id="card")
    outputs = [words, loss, accuracy, matrix_title, matrix, table, lr_text, lr_plot, card_text]
    gr.on(
        [tab.select, model.change],
        show,
        model,
        outputs,
        # The last model counts, also where it changes while another's report is read.
        trigger_mode="always_last",
        api_name="report",
    )
    matrix.click(
        open_cell, model, [tabs, mistakes.true, mistakes.predicted], api_visibility="private"
    )


def line_plot(title: str, y: str) -> gr.LinePlot:
    """An empty plot over the epochs."""
    return gr.LinePlot(
        x="epoch",
        y=y,
        color="images",
        color_map=COLOURS,
        title=title,
        x_axis_format="~g",  # 1 and not 1.0: labels have room
        show_label=False,
        height=260,
        min_width=320,
    )


def training_part(folder: Path) -> tuple[pd.DataFrame | None, pd.DataFrame | None, str]:
    """Losses and accuracies of each epoch in long form; or None, and what is said instead."""
    try:
        history = read_history(folder / HISTORY)
    except InputError as error:
        return None, None, f"\n\nNo training curves: {error}."
    if not history:
        return None, None, ""
    if len(history) == 1:
        return None, None, one_epoch(history[0])
    loss, accuracy = [], []
    for record in history:
        for images, part in (("training", "train"), ("validation", "val")):
            at = {"epoch": record.epoch, "images": images}
            loss.append({**at, "loss": getattr(record, f"{part}_loss")})
            accuracy.append({**at, "accuracy": 100 * getattr(record, f"{part}_accuracy")})
    return pd.DataFrame(loss), pd.DataFrame(accuracy), ""


def one_epoch(record: EpochRecord) -> str:
    """A training of one epoch, of which a line would show nothing."""
    return (
        f"\n\nAfter its one epoch: on training images loss {record.train_loss:.4f} nats, accuracy "
        f"{record.train_accuracy:.2%}; on validation images loss {record.val_loss:.4f} nats, "
        f"accuracy {record.val_accuracy:.2%}."
    )


def lr_part(config: ModelConfig, folder: Path) -> tuple[pd.DataFrame | None, str]:
    """The curve of the learning-rate test, if there is one, and what the test suggests.

    Without one, which command runs it.
    """
    path = folder / LR_FIND
    if not path.is_file():
        return None, f"No learning-rate test lies beside this model. {how_to_test(config, folder)}"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        curve = lr_points(found)
        if found["suggestion"] is None:
            words = f"The learning-rate test suggests none: {found['problem']}."
        else:
            words = f"The learning-rate test suggests **{found['suggestion']:.3g}**."
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, (
            f"No learning-rate test: {path} can't be used: {type(error).__name__}: {error}; "
            "remove it and run jobs.lr_find again."
        )
    return (None if curve.empty else curve), words


def how_to_test(config: ModelConfig, folder: Path) -> str:
    """The command that runs the model's learning-rate test, and leaves it where the page looks."""
    here, recipe = jobs_are_here(), config.recipe.name
    words = ["python", "-m", "jobs.lr_find", "--data", config.data.source]
    words += ["--recipe", recipe if recipe in RECIPES else f"{recipe}.json"]
    words += ["--image-size", str(config.image_size)]
    words += ["--out", str((folder if here else Path("MODEL")) / LR_FIND.parent)]
    command = f"\n\n```sh\n{shlex.join(words)}\n```"
    if recipe not in RECIPES:
        command += f"\n\n`{recipe}.json` is the file that the recipe was read from."
    if here:
        return f"This command runs one:{command}"
    return f"Where this Space was built, this command runs one; then build it anew:{command}"


def lr_points(found: dict[str, Any]) -> pd.DataFrame:
    """The curve in the content of an lr_find.json, in long form; empty if it has no points."""
    return pd.DataFrame(
        {
            "log10 of the learning rate": math.log10(point["lr"]),
            "loss": float(point[key]),
            "line": line,
        }
        for point in found["points"]
        for key, line in (("loss", "measured"), ("smoothed_loss", "smoothed"))
    )


def report_part(folder: Path) -> tuple[Report | None, str]:
    """The report, if there is one that can be read, and what is said of it in words."""
    try:
        report = read_report(folder / REPORT)
    except InputError as error:
        return None, f"No report: {error}."
    return report, summary(report, folder)


def summary(report: Report | None, folder: Path) -> str:
    """The report in one sentence, or which command writes it."""
    if report is None:
        return f"This model has not been evaluated yet. {how_to_evaluate(folder)}"
    wrong = int(report.confusion.sum() - report.confusion.trace())
    return (
        f"Accuracy **{report.accuracy:.2%}** on {report.images:,} test images of `{report.data}`; "
        f"{wrong:,} misclassified; loss {report.loss:.4f} nats."
    )


def matrix_heading(report: Report | None) -> str:
    """What stands over the confusion matrix."""
    if report is None or len(report.class_names) > MOST_CLASSES:
        return "#### Confusion matrix"
    return "#### Confusion matrix: click a wrong cell to see its images"


def class_table(report: Report | None) -> pd.DataFrame | None:
    """Images and accuracy of each class."""
    if report is None:
        return None
    return pd.DataFrame(
        {
            "class": report.class_names,
            "images": report.confusion.sum(axis=1),
            "accuracy (%)": [round(100 * value, 2) for value in report.per_class_accuracy],
        }
    )


def card(folder: Path) -> str:
    """The model card without its front matter."""
    path = folder / CARD
    if not path.is_file():
        return "This model folder has no card."
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.startswith("---\n"):
        text = text.split("\n---\n", 1)[-1]
    return text
