"""Processes that augment beside a GPU: how many there are, and how they leave."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import torch

from cifar_model.dataset import LabelledImages, TrainingData
from cifar_model.recipe import Recipe

MOST = 8
SHARED_MEMORY = Path("/dev/shm")  # batches come through it; a container's has 64 MiB by default
BATCHES_EACH = 2  # under way: one that waits, one that is being written
BYTES_A_VALUE = 4  # float32


def loader_processes(data: TrainingData, recipe: Recipe) -> int:
    """How many a run on this machine has beside it; 0 where the batches are made in the process.

    On a GPU albumentations, an image at a time on one core, would be the slower part. On a CPU
    those cores are the ones that train. A stream is read in order, by one process.
    """
    beside = recipe.augmentation == "albumentations" and isinstance(data.train, LabelledImages)
    if not (beside and torch.cuda.is_available()):
        return 0
    batch = BYTES_A_VALUE * 3 * data.image_size**2 * recipe.batch_size
    room = shutil.disk_usage(SHARED_MEMORY).free // (BATCHES_EACH * batch)
    return min(torch.get_num_threads(), MOST, room)


def leave_signals_to_the_run(_number: int) -> None:
    """A loader process ends when its run ends it: Ctrl-C reaches it too, and isn't for it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
