"""Augmentation, twice: the seed's albumentations pipeline, and the same draws a batch at a time.

The batched version takes uint8 images on any device, (B, S, S, 3), and gives normalised float32
images (B, 3, S, S) in channels-last memory. Only this file imports albumentations.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cifar_model.normalisation import Normalisation, normalise
from cifar_model.recipe import Recipe


def scaled(pixels_at_32: int, image_size: int) -> int:
    """A recipe's length, given for 32x32 images, in pixels of an image of this side."""
    return round(pixels_at_32 * image_size / 32)


def fill_value(normalisation: Normalisation) -> tuple[int, int, int]:
    """The mean colour, 0..255, that holes are filled with."""
    red, green, blue = (round(mean * 255) for mean in normalisation.mean)
    return red, green, blue


def albumentations_pipeline(
    recipe: Recipe, image_size: int, normalisation: Normalisation, *, seed: int
) -> Callable[[NDArray[np.uint8]], Tensor]:
    """The seed's training transform: pad, crop, flip, one hole filled with the mean, normalise.

    Returns a function from one RGB image (S, S, 3) uint8 to a float32 tensor (3, S, S).
    """
    # Without it albumentations asks PyPI for its newest version at import.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
    import cv2
    from albumentations.pytorch import ToTensorV2

    padded = image_size + 2 * scaled(recipe.crop_padding, image_size)
    hole = scaled(recipe.cutout_size, image_size)
    border = cv2.BORDER_CONSTANT if recipe.padding == "constant" else cv2.BORDER_REFLECT_101
    steps: list[A.BasicTransform] = [
        A.PadIfNeeded(min_height=padded, min_width=padded, border_mode=border, fill=0),
        A.RandomCrop(height=image_size, width=image_size),
    ]
    if recipe.flip == "random":
        steps.append(A.HorizontalFlip(p=0.5))
    if hole and recipe.cutout_probability:
        steps.append(
            A.CoarseDropout(
                num_holes_range=(1, 1),
                hole_height_range=(hole, hole),
                hole_width_range=(hole, hole),
                fill=fill_value(normalisation),
                p=recipe.cutout_probability,
            )
        )
    steps += [A.Normalize(normalisation.mean, normalisation.std), ToTensorV2()]
    pipeline = A.Compose(steps, seed=seed)
    return lambda image: pipeline(image=image)["image"]


@dataclass(frozen=True)
class Draws:
    """What chance decided for each of B images; positions in pixels."""

    top_B: Tensor  # int64, of the crop in the padded image
    left_B: Tensor
    flip_B: Tensor  # bool
    hole_B: Tensor  # bool: whether there is one
    hole_top_B: Tensor  # int64, in the cropped image
    hole_left_B: Tensor

    def take(self, positions: Tensor) -> Draws:
        """The draws of these images alone."""
        return Draws(**{name: values[positions] for name, values in vars(self).items()})

    def to(self, device: torch.device) -> Draws:
        """The draws on this device, which is not waited for."""
        return Draws(
            **{name: values.to(device, non_blocking=True) for name, values in vars(self).items()}
        )


def draw(
    recipe: Recipe,
    image_size: int,
    indices_B: Tensor,
    *,
    epoch: int,
    seed: int,
    generator: torch.Generator,
) -> Draws:
    """Draw crops, flips and holes for the images with these indices in the training set.

    A random flip is independent each time; an alternating one is fixed by seed and index for the
    first epoch and turned over in each later one (Jordan, arXiv:2404.00498, section 3.6).
    """
    count = len(indices_B)
    padding = scaled(recipe.crop_padding, image_size)
    hole = scaled(recipe.cutout_size, image_size)

    def uniform(high: int) -> Tensor:
        return torch.randint(0, high + 1, (count,), generator=generator)

    top, left = uniform(2 * padding), uniform(2 * padding)
    coin = torch.rand(count, generator=generator) < 0.5
    if recipe.flip == "none":
        flip = torch.zeros(count, dtype=torch.bool)
    elif recipe.flip == "random":
        flip = coin
    else:
        flip = (first_flip(indices_B, seed) + epoch) % 2 == 1
    has_hole = torch.rand(count, generator=generator) < recipe.cutout_probability
    edge = image_size - hole
    return Draws(top, left, flip, has_hole & (hole > 0), uniform(edge), uniform(edge))


def first_flip(indices_B: Tensor, seed: int) -> Tensor:
    """A fair, fixed coin (0 or 1) for each image index: one bit of a 64-bit mixing of both."""
    # splitmix64's finaliser (Steele, Lea and Flood, 2014), in wrapping int64 arithmetic.
    x = indices_B.to(torch.int64) + (seed + 1) * 0x632BE59BD9B4E019 % 2**63
    for shift, factor in ((30, -0x40A7B892E31B1A47), (27, -0x6B2FB644ECCEEE15)):
        x = (x ^ (x >> shift)) * factor
    return (x >> 31) & 1


def apply(
    images_BHWC: Tensor, draws: Draws, recipe: Recipe, normalisation: Normalisation
) -> Tensor:
    """Crop, flip, punch holes and normalise, on the images' own device."""
    device, (count, size) = images_BHWC.device, images_BHWC.shape[:2]
    padding, hole = scaled(recipe.crop_padding, size), scaled(recipe.cutout_size, size)
    span = torch.arange(size, device=device)
    draws = draws.to(device)
    rows = draws.top_B[:, None] + span - padding
    columns = torch.where(draws.flip_B[:, None], size - 1 - span, span)
    columns = draws.left_B[:, None] + columns - padding
    inside = None
    if recipe.padding == "reflect":
        rows, columns = _reflect(rows, size), _reflect(columns, size)
    elif padding:
        inside = _within(rows, size)[:, :, None] & _within(columns, size)[:, None, :]
        rows, columns = rows.clamp(0, size - 1), columns.clamp(0, size - 1)
    batch = torch.arange(count, device=device)
    crops = images_BHWC[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    if inside is not None:
        crops = crops * inside[..., None]
    if hole and recipe.cutout_probability:
        in_rows = _within(span - draws.hole_top_B[:, None], hole)
        in_columns = _within(span - draws.hole_left_B[:, None], hole)
        holes = in_rows[:, :, None] & in_columns[:, None, :] & draws.hole_B[:, None, None]
        colour = torch.tensor(fill_value(normalisation), dtype=torch.uint8)
        fill = colour.to(device, non_blocking=True)
        crops = torch.where(holes[..., None], fill, crops)
    return normalise(crops, normalisation)


SMALLEST = 8  # side of an image of which the network's three poolings leave something


def shrink(images_BCHW: Tensor, recipe: Recipe, epoch: int) -> Tensor:
    """The images at the resolution that the recipe gives this epoch; in the later ones as they are.

    Early epochs learn as much from small images, at a part of the cost (Howard et al. 2018,
    fast.ai/posts/2018-08-10-fastai-diu-imagenet.html).
    """
    size = images_BCHW.shape[-1]
    side = max(SMALLEST, scaled(recipe.low_resolution, size))
    if epoch >= recipe.small_epochs or side == size:
        return images_BCHW
    return F.interpolate(images_BCHW, (side, side), mode="bilinear", antialias=True)


def preview(
    images_BHWC: NDArray[np.uint8], recipe: Recipe, normalisation: Normalisation, *, seed: int
) -> NDArray[np.uint8]:
    """Augmented versions of images (B, S, S, 3) uint8 as pictures again, for people to look at.

    They are drawn by what the recipe trains with. ImportError where that is albumentations, and it
    is not installed.
    """
    size = images_BHWC.shape[1]
    if recipe.augmentation == "albumentations":
        pipeline = albumentations_pipeline(recipe, size, normalisation, seed=seed)
        augmented = torch.stack([pipeline(image) for image in images_BHWC])
    else:
        generator = torch.Generator().manual_seed(seed)
        indices = torch.arange(len(images_BHWC))
        draws = draw(recipe, size, indices, epoch=seed, seed=seed, generator=generator)
        augmented = apply(torch.from_numpy(images_BHWC), draws, recipe, normalisation)
    mean, std = torch.tensor(normalisation.mean), torch.tensor(normalisation.std)
    pixels = (augmented.permute(0, 2, 3, 1) * std + mean) * 255
    return pixels.round().clamp(0, 255).to(torch.uint8).numpy()


def _within(offsets: Tensor, length: int) -> Tensor:
    return (offsets >= 0) & (offsets < length)


def _reflect(indices: Tensor, size: int) -> Tensor:
    """Mirror indices at the border pixels without repeating them, as BORDER_REFLECT_101 does."""
    indices = indices.abs()
    return torch.where(indices >= size, 2 * (size - 1) - indices, indices)
