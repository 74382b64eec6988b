"""Writes a Space folder: complete, with nothing in it that the page does not need.

README.md          the front matter that Spaces reads
app.py             serve_app/space/space_app.py
requirements.txt   exact pins, no Ray, no CUDA
models/00-NAME/    the model folders
cifar_model/  serve_app/   the files that app.py imports, directly or not
LICENSE
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from cifar_model.errors import InputError
from cifar_model.files import new_folder
from cifar_model.history import HISTORY
from cifar_model.model_config import CONFIG, ModelConfig, read_config
from cifar_model.model_folder import CARD, REPORT
from cifar_model.report_folder import MISTAKES_FILE, REPORT_FILE
from cifar_model.weights import WEIGHTS
from serve_app.space.import_graph import needed_files, pinned_closure, read_pins
from serve_app.tabs.report import LR_FIND

ROOT = Path(__file__).parents[2]
ENTRY = Path(__file__).with_name("space_app.py")
# What the page itself needs; the rest of what the copied files can import stays optional there:
# albumentations to show augmentation, pyarrow to read CIFAR-10.
DISTRIBUTIONS = (
    "torch",
    "torchvision",  # grad-cam imports it
    "openvino",
    "grad-cam",
    "safetensors",
    "numpy",
    "pillow",
    "matplotlib",
    "gradio",
    "fastapi",
    "orjson",
    "opencv-python-headless",
    "pandas",
)
# With CUDA, as PyPI has it, PyTorch would take 6 GB.
CPU_INDEX = "--extra-index-url https://download.pytorch.org/whl/cpu"
MODEL_FILES = (CONFIG, WEIGHTS, CARD, HISTORY)
REPORT_FILES = (
    f"{REPORT}/{REPORT_FILE}",
    f"{REPORT}/{MISTAKES_FILE}",
    f"{REPORT}/confusion_matrix.png",  # which the page names where a table would be too large
    str(LR_FIND),
)


def build(out: Path, models: Mapping[str, Path]) -> Path:
    """Write the Space of these model folders, by name; it appears whole. Returns its folder.

    InputError if something is at `out` or a model can't be used.
    """
    if out.exists():
        raise InputError(f"{out} exists; choose another --out")
    configs = {name: read_config(folder) for name, folder in models.items()}
    constraints = ROOT / "constraints.txt"
    if not constraints.is_file():
        raise InputError(f"space: no {constraints}; build from a checkout of the project")
    requirements = pinned_closure(DISTRIBUTIONS, read_pins(constraints))
    with new_folder(out) as aside:
        for file in needed_files(ROOT, ENTRY):
            (aside / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, aside / file)
        shutil.copyfile(ENTRY, aside / "app.py")
        shutil.copyfile(ROOT / "LICENSE", aside / "LICENSE")
        lines = [CPU_INDEX, *requirements]
        (aside / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (aside / "README.md").write_text(readme(configs, requirements), encoding="utf-8")
        for number, (name, folder) in enumerate(models.items()):
            # Numbered, for the first model is the default; a model's name may be no folder's.
            readable = re.sub(r"[^\w.-]+", "-", name)
            copy_model(folder, aside / "models" / f"{number:02d}-{readable}")
    return out


def copy_model(folder: Path, target: Path) -> None:
    """Copy what the page reads of a model folder."""
    target.mkdir(parents=True)
    for file in MODEL_FILES:
        if not (folder / file).is_file():
            raise InputError(f"model {folder}: no {file}")
        shutil.copyfile(folder / file, target / file)
    for file in REPORT_FILES:
        if (folder / file).is_file():
            (target / file).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / file, target / file)


def readme(configs: Mapping[str, ModelConfig], requirements: list[str]) -> str:
    """The Space's README.md."""
    gradio = next(pin for pin in requirements if pin.startswith("gradio==")).partition("==")[2]
    listed = "\n".join(
        f"- **{name}**: {len(config.class_names)} classes, {config.image_size}x"
        f"{config.image_size} pixels, trained on `{config.data.source.rpartition('/')[2]}`"
        for name, config in configs.items()
    )
    return f"""---
title: Image classifier
emoji: 🔎
colorFrom: blue
colorTo: indigo
sdk: gradio
sdk_version: {gradio}
python_version: "3.11"
app_file: app.py
license: apache-2.0
pinned: false
---
# Image classifier

Classifies pictures, shows with Grad-CAM where the evidence is, and lists what was misclassified.

{listed}

This folder was written by `python -m serve_app.space build`; make changes in the project that
holds that command. `pip install -r requirements.txt && python app.py` runs it anywhere.
"""
