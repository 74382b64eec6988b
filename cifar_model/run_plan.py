"""What decides the outcome of a run besides its data: cheap to import, so that a driver can send it
to workers before anything has imported PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cifar_model.recipe import Recipe

Precision = Literal["auto", "32-true", "bf16-mixed"]
PRECISIONS: tuple[Precision, ...] = ("auto", "32-true", "bf16-mixed")
Compile = Literal["auto", "on", "off"]
COMPILES: tuple[Compile, ...] = ("auto", "on", "off")


@dataclass(frozen=True)
class RunPlan:
    """How to train; the number of workers is not part of it."""

    recipe: Recipe
    num_classes: int
    seed: int = 0
    precision: Precision = "auto"  # auto: bf16 where the hardware multiplies it natively
    compile: Compile = "auto"  # auto: torch.compile on GPUs; on a CPU it takes longer than it saves
    channels_last: bool = True  # memory format of the network; False is for comparisons
