"""A recipe at another batch size: the rule by which its learning rates follow.

SGD: in proportion to the batch (Goyal et al., arXiv:1706.02677). Adam and Muon, whose steps have a
size of their own: with its square root (Malladi et al., arXiv:2205.10330); what Muon leaves to SGD,
in proportion. The number of workers enters nowhere: a recipe's batch is that of all together.
"""

from __future__ import annotations

from dataclasses import replace

from cifar_model.recipe import Recipe


def with_batch_size(recipe: Recipe, batch_size: int) -> Recipe:
    """The recipe with this global batch size and the learning rates that go with it."""
    resized = replace(recipe, batch_size=batch_size)  # refuses what no batch can be
    ratio = batch_size / recipe.batch_size
    scale = ratio if recipe.optimizer == "sgd" else ratio**0.5
    return replace(
        resized, peak_lr=recipe.peak_lr * scale, auxiliary_lr=recipe.auxiliary_lr * ratio
    )
