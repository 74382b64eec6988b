"""The Lightning data module: uint8 images -> augmented, normalised batches on the device.

The batch size of a recipe is that of all workers together, so a run has the same steps and the same
global batches on one worker as on eight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from cifar_model import augment
from cifar_model.batch_plan import BatchPlan, derive_seed
from cifar_model.batches import Batch, BatchDataset, EpochSteps
from cifar_model.dataset import Pictures, TrainingData
from cifar_model.loader_processes import leave_signals_to_the_run
from cifar_model.normalisation import normalise
from cifar_model.recipe import Recipe
from cifar_model.run_plan import validation_batch_size


class ImageDataModule(pl.LightningDataModule):
    """Train and validation loaders, dealt out to the trainer's workers.

    loaders: processes that augment image by image, where the recipe does; 0 for this one.
    """

    def __init__(self, data: TrainingData, recipe: Recipe, *, seed: int, loaders: int = 0) -> None:
        super().__init__()
        self.data, self.recipe, self.seed, self.loaders = data, recipe, seed, loaders

    def train_dataloader(self) -> DataLoader[Batch]:
        """One epoch of augmented batches, shuffled by seed and epoch."""
        transform = self._albumentations if self.recipe.augmentation == "albumentations" else None
        return self._loader(self.data.train, self.recipe.batch_size, self.seed, transform)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation images in order, each once over all workers."""
        return self._loader(self.data.val, validation_batch_size(self.recipe), None, None)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move what the network needs. The indices stay: chance is drawn on the CPU, and a GPU
        that had to give them back would wait for every step to end."""
        images = batch.images.to(device, non_blocking=True)
        return batch._replace(images=images, labels_B=batch.labels_B.to(device, non_blocking=True))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (training) and normalise on the device what is still uint8."""
        if self.trainer is None or not self.trainer.training:
            return batch._replace(images=normalise(batch.images, self.data.normalisation))
        images = self._augmented(batch) if batch.images.dtype == torch.uint8 else batch.images
        return batch._replace(images=augment.shrink(images, self.recipe, batch.epoch))

    def _augmented(self, batch: Batch) -> Tensor:
        # Drawn for the whole global batch and cut to this worker's share, so that an image gets
        # the same crop on one worker as on eight.
        seed = derive_seed(self.seed, batch.epoch, batch.step)
        draws = augment.draw(
            self.recipe,
            self.data.image_size,
            batch.global_indices_G,
            epoch=batch.epoch,
            seed=self.seed,
            generator=torch.Generator().manual_seed(seed),
        )
        mine = torch.arange(batch.rank, len(batch.global_indices_G), batch.world_size)
        return augment.apply(batch.images, draws.take(mine), self.recipe, self.data.normalisation)

    def _albumentations(self, seed: int) -> Callable[[NDArray[np.uint8]], Tensor]:
        return augment.albumentations_pipeline(
            self.recipe, self.data.image_size, self.data.normalisation, seed=seed
        )

    def _loader(
        self,
        data: Pictures,
        batch_size: int,
        shuffle_seed: int | None,
        transform: Callable[[int], Callable[[NDArray[np.uint8]], Tensor]] | None,
    ) -> DataLoader[Batch]:
        rank = self.trainer.global_rank if self.trainer else 0
        world_size = self.trainer.world_size if self.trainer else 1
        plan = BatchPlan(len(data), batch_size, rank, world_size, shuffle_seed)
        beside = transform is not None and self.loaders > 0
        # These make a resumed run's first batches before Lightning says of which epoch they are.
        epoch = self.trainer.global_step // plan.steps if beside and self.trainer else 0
        return DataLoader(
            BatchDataset(data, plan, transform),
            batch_size=None,  # each item already is a batch
            sampler=EpochSteps(plan.steps, epoch),
            num_workers=self.loaders if beside else 0,
            prefetch_factor=1 if beside else None,
            persistent_workers=beside,
            worker_init_fn=leave_signals_to_the_run,
            pin_memory=torch.cuda.is_available(),
        )
