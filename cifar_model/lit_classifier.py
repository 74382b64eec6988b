"""The LightningModule: loss, metrics, and the optimiser and schedule that a Recipe describes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy

from cifar_model.batch_plan import derive_seed
from cifar_model.batches import Batch
from cifar_model.mean_loss import MeanLoss
from cifar_model.muon import MuonWithSGD
from cifar_model.recipe import Recipe
from cifar_model.resnet9 import ResNet9


class LitClassifier(pl.LightningModule):
    """Trains a network by a recipe.

    It logs `train_loss`, `train_accuracy`, `val_loss` and `val_accuracy` an epoch: means over every
    image of every worker, the losses as plain cross-entropy in nats (without label smoothing), so
    that they compare across recipes.

    steps: of the whole run. Lightning's own estimate of them makes the data's loaders, on a resumed
        run before it knows at which step that is.
    """

    def __init__(self, network: ResNet9, recipe: Recipe, *, seed: int, steps: int) -> None:
        super().__init__()
        self.network, self.recipe, self.seed, self.steps = network, recipe, seed, steps
        classes = network.num_classes
        self.train_loss, self.val_loss = MeanLoss(), MeanLoss()
        # Its checks of each batch's values would have a GPU wait for every step to end.
        self.train_accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)
        self.val_accuracy = MulticlassAccuracy(classes, average="micro", validate_args=False)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) -> logits (B, K)."""
        return self.network(images_BCHW)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Dropout draws from its device's generator; seeding that by step makes a resumed run repeat
        # what an undisturbed one does. torch.manual_seed would note a stack trace for each kind of
        # device that has not been used yet, at each step.
        if self.recipe.dropout:
            on_cpu = self.device.type == "cpu"
            its = torch.default_generator if on_cpu else torch.get_device_module(self.device)
            its.manual_seed(derive_seed(self.seed, batch.epoch, batch.step, batch.rank))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch -> the loss to descend."""
        logits = self(batch.images).float()
        loss = F.cross_entropy(logits, batch.labels_B, label_smoothing=self.recipe.label_smoothing)
        with torch.no_grad():
            plain = F.cross_entropy(logits, batch.labels_B)
            self.train_loss.update(plain, len(batch.labels_B))
            self.train_accuracy.update(logits, batch.labels_B)
        # DDP averages the workers' gradients; this makes that the mean over all images of the
        # global batch, also where one worker's share is an image larger than another's.
        return loss * (len(batch.labels_B) * batch.world_size / len(batch.global_indices_G))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        # Each call takes a millisecond, which a GPU waits for; one an epoch is enough.
        if self.trainer.is_last_batch:
            self.log("train_loss", self.train_loss, on_step=False, on_epoch=True)
            self.log("train_accuracy", self.train_accuracy, on_step=False, on_epoch=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation metrics with one batch."""
        logits = self(batch.images).float()
        self.val_loss.update(F.cross_entropy(logits, batch.labels_B), len(batch.labels_B))
        self.val_accuracy.update(logits, batch.labels_B)
        self.log("val_loss", self.val_loss, on_step=False, on_epoch=True)
        self.log("val_accuracy", self.val_accuracy, on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        """The recipe's optimiser, and its one-cycle over all steps of the run."""
        recipe = self.recipe
        optimizer = build_optimizer(self.network, recipe)
        schedule = one_cycle(optimizer, recipe, self.steps)
        # A step, not an epoch: Lightning saves checkpoints before the epoch's scheduler step.
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def one_cycle(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """The recipe's schedule over so many steps in all."""
    # A warm-up of just one step would have OneCycleLR divide by zero.
    alone = recipe.warmup_fraction * steps == 1
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        pct_start=recipe.warmup_fraction * (1 + 1e-9 * alone),
        div_factor=recipe.start_divisor,
        final_div_factor=recipe.final_divisor,
        anneal_strategy=recipe.anneal,
        cycle_momentum=False,
    )


def build_optimizer(network: ResNet9, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the network's parameters, grouped by decay and method."""
    filters = [p for p in network.parameters() if p.ndim == 4]
    head = [p for p in network.linear.parameters() if p.ndim == 2]
    scales = [m.weight for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    biases = [p for name, p in network.named_parameters() if name.endswith(".bias")]
    decay = recipe.weight_decay
    small_decay = decay if recipe.decay_biases_and_norms else 0.0
    if recipe.optimizer == "muon":
        auxiliary = {"lr": recipe.auxiliary_lr, "momentum": recipe.auxiliary_momentum}
        factor = recipe.bias_lr_factor
        bias_lr = {**auxiliary, "lr": recipe.auxiliary_lr * factor}
        groups: list[dict[str, Any]] = [
            {"params": filters, "lr": recipe.peak_lr, "momentum": recipe.momentum, "muon": True},
            {"params": head, "weight_decay": decay, **auxiliary},
            {"params": biases, "weight_decay": small_decay / factor, **bias_lr},
        ]
        if recipe.train_norm_scales:
            groups.append({"params": scales, "weight_decay": small_decay, **auxiliary})
        return MuonWithSGD(groups)
    groups = [
        {"params": filters + head, "weight_decay": decay},
        {"params": biases + scales, "weight_decay": small_decay},
    ]
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.peak_lr, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=recipe.peak_lr, momentum=recipe.momentum, nesterov=recipe.nesterov
    )
