"""What the Classify tab answers, of any of the served models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np

from cifar_model.errors import InputError
from cifar_model.framing import Picture
from serve_app.answers import enlarged, explained_picture, shrunk, top_predictions
from serve_app.backends import Backend
from serve_app.decoding import decoded, framed_or_raise
from serve_app.example_pictures import shipped_pictures
from serve_app.faithfulness import Faithfulness, measure_faithfulness
from serve_app.images import decode_image
from serve_app.model_data import read_data, why_unreadable
from serve_app.models import check_unchanged
from serve_app.tabs.messages import class_index, messages

BEST = "predicted"  # instead of a class to explain
SEEN_SIDE = 160  # pixels on the page
SHOWN_PIXELS = 2_000_000  # of an overlay; each answer leaves one in Gradio's cache for a day
DRAWN = 8  # pictures of the data a click
Example = Path | Picture


@dataclass(frozen=True)
class ClassifyAnswers:
    """The actions of the tab."""

    backend: Backend

    async def classify(
        self,
        picture_path: str | None,
        model_name: str,
        top_k: int,
        explained: str,
        layer: str,
        method: str,
        opacity: float,
    ) -> tuple[dict[str, float], Picture, str, Picture, Picture | None]:
        """Class -> probability, the evidence over the picture, how faithful it is in words, the
        square that the network saw, and that square without the strongest part of the map.

        explained: a class, or "predicted".
        opacity: of the evidence over the picture, 0 to 1.
        """
        with messages("This picture can't be classified"):
            if picture_path is None:
                raise InputError("give a picture first: drop, paste or photograph one")
            backend, config = self.backend, self.backend.models[model_name]
            target = None if explained == BEST else class_index(explained, config.class_names)
            data = await asyncio.to_thread(Path(picture_path).read_bytes)
            async with decoded([data], config.image_size, whole=True) as (part,):
                framed = framed_or_raise(part)
                assert framed.picture is not None
                shown = await asyncio.to_thread(shrunk, framed.picture, SHOWN_PIXELS)
                square = framed.square
            del part, framed  # the whole picture, for which no room is held any more
            found = await backend.explain(square, target, layer, method=method, model=model_name)
            faithful = await measure_faithfulness(backend, square, found, model_name)
            check_unchanged(backend, model_name, config)
            best = top_predictions(found.probabilities, config.class_names, top_k)
        return (
            {prediction["label"]: prediction["probability"] for prediction in best},
            await asyncio.to_thread(explained_picture, shown, found, opacity),
            in_words(faithful, config.class_names[found.class_index]),
            enlarged(square, SEEN_SIDE),
            enlarged(faithful.removed, SEEN_SIDE) if faithful else None,
        )

    def example_pictures(self, model_name: str) -> tuple[list[Example], list[Example]]:
        """Shipped pictures and some of the model's test images: as shown, and as they are."""
        config = self.backend.models[model_name]
        with messages("No pictures of the data"):
            if reason := why_unreadable(config):
                raise InputError(reason.rstrip("."))
            test = read_data(config.data.source, config.image_size).test
        chosen = np.random.default_rng().permutation(len(test))[:DRAWN]
        examples: list[Example] = [*shipped_pictures(), *test.images[chosen]]
        shown = [e if isinstance(e, Path) else enlarged(e, SEEN_SIDE) for e in examples]
        return shown, examples

    def has_pictures(self, model_name: str) -> bool:
        """Whether the data of a model can be read here."""
        return why_unreadable(self.backend.models[model_name]) is None


def chosen_example(event: gr.SelectData, examples: list[Example]) -> Picture:
    """The example that was clicked."""
    chosen = examples[event.index]
    return decode_image(chosen.read_bytes()) if isinstance(chosen, Path) else chosen


def in_words(faithful: Faithfulness | None, label: str) -> str:
    """The faithfulness of a map for the class `label`, as Markdown."""
    if faithful is None:
        return f"**Faithfulness**: none to measure. This map finds no evidence for *{label}*."
    share = f"{100 * faithful.share:.2g}%"
    return (
        f"**Faithfulness {faithful.fall:+.2f}**: the probability of *{label}* goes from "
        f"{faithful.whole:.1%} to {faithful.without_strongest:.1%} when the strongest "
        f"{share} of the map is replaced by the mean colour; with the weakest "
        f"{share} instead, to {faithful.without_weakest:.1%}."
    )
