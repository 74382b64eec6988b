"""The page over the models that lie beside this file in `models/`; becomes a Space's app.py.

python app.py
"""

from __future__ import annotations

import os
from pathlib import Path

# Gradio reads it when imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import numpy as np

from cifar_model.predictor import Predictor
from serve_app.backends import InProcess
from serve_app.ui import SESSIONS, build_ui, page_options

MODELS = Path(__file__).parent / "models"


def main() -> None:
    """Load every model, answer once so that the first visitor need not wait, and listen.

    The address is Gradio's own: GRADIO_SERVER_NAME and GRADIO_SERVER_PORT, which Spaces set.
    """
    folders, predictors = {}, {}
    for folder in sorted(path for path in MODELS.iterdir() if path.is_dir()):
        predictor = Predictor.load(folder)
        size = predictor.config.image_size
        predictor.explain(np.zeros((size, size, 3), np.uint8))
        folders[predictor.config.name] = folder
        predictors[predictor.config.name] = predictor
    page = build_ui(InProcess(predictors), folders)
    page.launch(share=False, state_session_capacity=SESSIONS, **page_options())


if __name__ == "__main__":
    main()
