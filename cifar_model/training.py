"""One process of a training run: network, data and Lightning Trainer put together and fitted.

It is the same with and without Ray: `jobs.train` gives it the strategy, plugins and callbacks that
differ.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import TensorBoardLogger

from cifar_model.batch_plan import BatchPlan
from cifar_model.checkpoint_io import WholeFileIO
from cifar_model.data import ImageDataModule
from cifar_model.dataset import TrainingData
from cifar_model.epoch_log import EpochLog
from cifar_model.history import HISTORY
from cifar_model.kept_memory import keep_freed_memory
from cifar_model.lit_classifier import LitClassifier
from cifar_model.loader_processes import loader_processes
from cifar_model.native_bf16 import has_native_bf16
from cifar_model.resnet9 import ResNet9
from cifar_model.run_plan import RunPlan
from cifar_model.synced_norm import sync_norms


@dataclass(frozen=True)
class Placement:
    """How this process takes part in the run: what Ray decides, or the defaults without it."""

    strategy: Any = "auto"
    plugins: Sequence[Any] = ()
    callbacks: Sequence[pl.Callback] = ()
    devices: int | str = 1
    command_started: float | None = None  # time.time() of the user's command


def quiet_lightning() -> None:
    """Silence Lightning's banners and the hints that don't apply to batches made in memory."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", module="pytorch_lightning.*")


def native_precision() -> Literal["32-true", "bf16-mixed"]:
    """bf16 autocast where the device multiplies bf16 natively, else float32."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return "bf16-mixed" if has_native_bf16(device) else "32-true"


def build_network(plan: RunPlan) -> ResNet9:
    """A freshly initialised network for the plan."""
    recipe = plan.recipe
    network = ResNet9(plan.num_classes, dropout=recipe.dropout, logit_scale=recipe.logit_scale)
    layout = torch.channels_last if plan.tuned_memory else torch.contiguous_format
    return network.to(memory_format=layout)


def build_trainer(plan: RunPlan, run_folder: Path, placement: Placement) -> pl.Trainer:
    """The Lightning Trainer of this process.

    run_folder: where `history.csv` and `tensorboard/` go; rank 0 writes them.
    """
    options = trainer_options(plan, placement)
    # First: a diverged epoch must not be reported or saved by the others.
    log = EpochLog(run_folder / HISTORY, command_started=placement.command_started)
    options["callbacks"].insert(0, log)
    return pl.Trainer(
        **options,
        max_epochs=plan.recipe.epochs,
        logger=TensorBoardLogger(run_folder, name="tensorboard", version=""),
        log_every_n_steps=10,
        enable_checkpointing=any(isinstance(c, Checkpoint) for c in placement.callbacks),
    )


def trainer_options(plan: RunPlan, placement: Placement) -> dict[str, Any]:
    """What every Lightning Trainer of this project is given."""
    return {
        "accelerator": "auto",
        "devices": placement.devices,
        "strategy": placement.strategy,
        "plugins": [*placement.plugins, WholeFileIO()],
        "callbacks": list(placement.callbacks),
        "precision": native_precision() if plan.precision == "auto" else plan.precision,
        # cuDNN tries its algorithms once for each shape; nearly all batches have the same.
        "benchmark": torch.cuda.is_available(),
        # `ImageDataModule` deals out the data itself, each image once.
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }


def ready_process(plan: RunPlan, threads: int | None) -> None:
    """Give this process so many CPU threads (None leaves torch's default), and on a CPU the memory
    that its steps free."""
    if threads:
        torch.set_num_threads(threads)
    if plan.tuned_memory and not torch.cuda.is_available():
        keep_freed_memory()


def fit(
    plan: RunPlan,
    data: TrainingData,
    trainer: pl.Trainer,
    *,
    threads: int | None = None,
    checkpoint: Path | None = None,
) -> LitClassifier:
    """Train by the plan to its last epoch, from `checkpoint` on if one is given.

    checkpoint: a Lightning checkpoint; read without unpickling anything but tensors and plain
        values.

    threads: CPU threads of this process; None leaves torch's default.
    """
    ready_process(plan, threads)
    pl.seed_everything(plan.seed, verbose=False)
    network = build_network(plan)
    if plan.sync_norms:
        sync_norms(network)
    if plan.compile:
        # In place: names of parameters, and so checkpoints, stay as they are.
        network.compile()
    recipe = plan.recipe
    steps = recipe.epochs * BatchPlan(len(data.train), recipe.batch_size).steps
    module = LitClassifier(network, recipe, seed=plan.seed, steps=steps)
    trainer.fit(
        module,
        datamodule=ImageDataModule(
            data, recipe, seed=plan.seed, loaders=loader_processes(data, recipe)
        ),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    return module


def network_from_checkpoint(plan: RunPlan, checkpoint: Path) -> ResNet9:
    """The trained network in a Lightning checkpoint that `fit` wrote."""
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    prefix = "network."
    network = build_network(plan)
    network.load_state_dict(
        {
            name.removeprefix(prefix): tensor
            for name, tensor in content["state_dict"].items()
            if name.startswith(prefix)
        }
    )
    return network
