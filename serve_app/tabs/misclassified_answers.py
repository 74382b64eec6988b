"""What the Misclassified tab shows: a report's wrong answers, and the evidence for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np

from cifar_model.errors import InputError
from cifar_model.model_folder import REPORT
from cifar_model.predictor import Explanation
from cifar_model.report_folder import Mistakes, read_mistakes
from serve_app.answers import enlarged, explained_picture, side_by_side
from serve_app.backends import Backend
from serve_app.commands import how_to_evaluate
from serve_app.model_files import why_not_its_own
from serve_app.models import check_unchanged
from serve_app.tabs.galleries import Captioned
from serve_app.tabs.messages import class_index, messages

ANY = "any class"
SURE, UNSURE, NEAR = "surest", "least sure", "nearest miss"
SIDE = 160  # pixels on the page


@dataclass(frozen=True)
class MisclassifiedAnswers:
    """The actions of the tab, over the reports in the served models' folders."""

    backend: Backend
    folders: Mapping[str, Path]

    def misclassified(
        self, model_name: str, true: str, predicted: str, order: str, count: int
    ) -> tuple[str, list[Captioned], gr.Column]:
        """How many there are, in words, and the first `count` of them with captions.

        true, predicted: a class, or "any class".
        order: "surest", "least sure" or "nearest miss" first.
        """
        chosen = self._select(model_name, true, predicted, order)
        # The report may have come since the page was built.
        body = gr.Column(visible=chosen is not None)
        if chosen is None:
            words = "This model has not been evaluated yet: no misclassified images to show. "
            return words + how_to_evaluate(self.folders[model_name]), [], body
        names = self.backend.models[model_name].class_names
        part = chosen.take(np.arange(min(count, len(chosen))))
        captions = [
            f"{names[p]} {c:.0%}, is {names[t]}"
            for p, c, t in zip(part.predicted, part.confidence, part.true, strict=True)
        ]
        pictures = [enlarged(image, SIDE) for image in part.images]
        words = (
            f"{len(part)} of {len(chosen)} misclassified test images. Below each: the predicted "
            "class with its probability, and the true class."
        )
        return words, list(zip(pictures, captions, strict=True)), body

    async def explain_misclassified(
        self,
        model_name: str,
        true: str,
        predicted: str,
        order: str,
        count: int,
        layer: str,
        method: str,
        opacity: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how Gradio asks for it)
    ) -> list[Captioned]:
        """The first `count`, each beside the evidence for its predicted and for its true class.

        true, predicted, order: see /misclassified.
        opacity: of the evidence over the image, 0 to 1.
        """
        chosen = await asyncio.to_thread(self._select, model_name, true, predicted, order)
        if chosen is None:
            return []
        names = self.backend.models[model_name].class_names
        count = min(count, len(chosen))
        strips = []
        for i in range(count):
            progress((i, count), desc="Explaining", unit="images")
            maps = await self._maps(model_name, chosen, i, layer, method)
            large = enlarged(chosen.images[i], SIDE)
            overlays = [explained_picture(large, found, opacity) for found in maps]
            caption = (
                f"{names[chosen.predicted[i]]} {chosen.confidence[i]:.0%} | "
                f"is {names[chosen.true[i]]} {chosen.true_probability[i]:.0%}"
            )
            strips.append((side_by_side([large, *overlays]), caption))
        return strips

    async def _maps(
        self, model_name: str, chosen: Mistakes, i: int, layer: str, method: str
    ) -> list[Explanation]:
        """Of the predicted class, and of the true one."""
        image, classes = chosen.images[i], (int(chosen.predicted[i]), int(chosen.true[i]))
        config = self.backend.models[model_name]
        with messages("These can't be explained"):
            found = await asyncio.gather(
                *(
                    self.backend.explain(image, k, layer, method=method, model=model_name)
                    for k in classes
                )
            )
            check_unchanged(self.backend, model_name, config)
        return found

    def _select(self, model_name: str, true: str, predicted: str, order: str) -> Mistakes | None:
        """The wrong answers that were asked for, in order; None without a report."""
        with messages("These can't be shown"):
            config, folder = self.backend.models[model_name], self.folders[model_name]
            if reason := why_not_its_own(folder, config):
                raise InputError(reason.rstrip("."))
            names = config.class_names
            found = read_mistakes(folder / REPORT)
            if found is None:
                return None
            kept = np.ones(len(found), bool)
            if true != ANY:
                kept &= found.true == class_index(true, names)
            if predicted != ANY:
                kept &= found.predicted == class_index(predicted, names)
            chosen = found.take(np.flatnonzero(kept))
            key = {
                SURE: -chosen.confidence,
                UNSURE: chosen.confidence,
                NEAR: -chosen.true_probability,
            }[order]
            return chosen.take(np.argsort(key, kind="stable"))
