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
    shape = f"{size}x{size}"
    summary = (
        f"A ResNet-9 that sorts {shape} RGB images into {len(config['class_names'])} classes: "
        f"{', '.join(config['class_names'])}. Larger pictures are cropped to their centre square "
        f"and resized. {tested}"
    )
    training = (
        f"Data `{data['source']}`: {data['train_images']:,} images to train on and "
        f"{data['val_images']:,} to look at while training (SHA-256 of the whole set begins with "
        f"`{data['fingerprint'][:16]}`). Recipe `{recipe['name']}`: {recipe['epochs']} epochs of "
        f"{recipe['optimizer']}, {recipe['batch_size']} images a step, peak learning rate "
        f"{recipe['peak_lr']:g}, seed {config['seed']}. The weights are those of the last epoch."
    )
    note = f"\n{config['note']}\n" if config["note"] else ""
    return f"""---
library_name: pytorch
pipeline_tag: image-classification
license: apache-2.0
---
# {config["name"]}

{summary}

## Training
{training}
{note}
| metric | value |
|---|---|
{rows}

Losses are in nats, accuracies from 0 to 1, times in seconds.

## Use
`python -m serve_app --model FOLDER` serves it; `cifar_model.predictor.Predictor` runs it in Python.

## Limits
- It always names one of its classes, also for a picture of something else.
- Its probabilities are softmax outputs; they are not calibrated.
- Grad-CAM shows where evidence for a class was found, not why.

Made with {versions}.
"""
