"""What a model folder remembers of the data it was trained on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataRecord:
    """Which images a model was trained on."""

    source: str
    fingerprint: str  # of an ImageDataset, or of a ListedDataset where the run streamed its images
    train_images: int
    val_images: int
    test_images: int
    # LabelledImages.fingerprint() of the test set, or where the run streamed its images
    # ListedDataset.test_fingerprint(); "" if unknown.
    test_fingerprint: str = ""
