"""The model card: a model folder's README.md, written from its config alone."""

from __future__ import annotations

from typing import Any


def model_card(config: dict[str, Any]) -> str:
    """Markdown with the front matter that Hugging Face reads, from the content of config.json."""
    data, recipe, metrics = config["data"], config["recipe"], config["metrics"]
    size = config["architecture"]["image_size"]
    rows = "\n".join(f"| {name} | {value:.4f} |" for name, value in sorted(metrics.items()))
    tested = (
        f"On the {data['test_images']:,} test images, each seen once and after training had ended, "
        f"its accuracy is {metrics['test_accuracy']:.2%}."
        if "test_accuracy" in metrics
        else "It has not been evaluated on a test set yet (`python -m jobs.evaluate` does that)."
    )
    versions = ", ".join(f"{name} {number}" for name, number in config["versions"].items())
    return f"""---
library_name: pytorch
pipeline_tag: image-classification
license: apache-2.0
---
# {config["name"]}

A ResNet-9 that sorts {size}x{size} RGB images into {len(config["class_names"])} classes:
{", ".join(config["class_names"])}. Larger pictures are cropped to their centre square and resized.

{tested}

## Training
Data `{data["source"]}`: {data["train_images"]:,} images to train on and {data["val_images"]:,} to
look at while training (SHA-256 of the whole set `{data["fingerprint"][:16]}`). Recipe
`{recipe["name"]}`: {recipe["epochs"]} epochs of {recipe["optimizer"]}, {recipe["batch_size"]}
images a step, peak learning rate {recipe["peak_lr"]:g}, seed {config["seed"]}. The weights are
those of the last epoch.

| metric | value |
|---|---|
{rows}

Losses are in nats, accuracies from 0 to 1.

## Use
`python -m serve_app --model FOLDER` serves it; `cifar_model.predictor.Predictor` runs it in Python.

## Limits
It always names one of its classes, also for a picture of something else. Its probabilities are
softmax outputs and not calibrated. Grad-CAM shows where evidence for a class was found, not why.

Made with {versions}.
"""
