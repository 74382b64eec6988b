"""The network: the seed's ResNet-9, layer for layer (6,575,370 parameters for ten classes).

Shape letters: B images, C channels, H and W pixels, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def conv_block(in_channels: int, out_channels: int, *, pool: bool, dropout: float) -> nn.Sequential:
    """3x3 convolution -> (2x2 max-pool) -> batch norm -> ReLU -> dropout, in the seed's order."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, padding=1)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    layers += [nn.BatchNorm2d(out_channels), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """``x + block(x)``: the addition that the seed's printed table does not show."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            conv_block(channels, channels, pool=False, dropout=dropout),
            conv_block(channels, channels, pool=False, dropout=dropout),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return x_BCHW + self.block(x_BCHW)


class ResNet9(nn.Module):
    """Classifier of square RGB images whose side is a multiple of 8.

    num_classes: K, at least 2.
    dropout: probability in [0, 1) of every dropout layer. The seed's table names the layers and
        not their rate; 0 turns them off.
    logit_scale: constant factor on the logits; it carries no parameter.
    """

    def __init__(
        self, num_classes: int = 10, *, dropout: float = 0.0, logit_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.logit_scale = logit_scale
        self.prep = conv_block(3, 64, pool=False, dropout=dropout)
        self.layer1 = conv_block(64, 128, pool=True, dropout=dropout)
        self.res1 = Residual(128, dropout)
        self.layer2 = conv_block(128, 256, pool=True, dropout=dropout)
        self.layer3 = conv_block(256, 512, pool=True, dropout=dropout)
        self.res2 = Residual(512, dropout)
        # The seed's MaxPool2d(4) on a 4x4 map is a global maximum; said so, any image size fits.
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.linear = nn.Linear(512, num_classes)

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) -> the last feature maps (B, 512, S/8, S/8)."""
        x = self.layer1(self.prep(images_BCHW))
        x = self.layer2(self.res1(x))
        return self.res2(self.layer3(x))

    def head(self, maps_BCHW: Tensor) -> Tensor:
        """Feature maps (B, 512, h, w) -> logits (B, K)."""
        return self.linear(self.pool(maps_BCHW).flatten(1)) * self.logit_scale

    def class_maps(self, maps_BCHW: Tensor) -> Tensor:
        """Feature maps (B, 512, h, w) -> what each place adds to each logit, (B, K, h, w)."""
        weights_KC = self.linear.weight * self.logit_scale
        return torch.einsum("kc,bchw->bkhw", weights_KC, maps_BCHW)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.head(self.features(images_BCHW))
