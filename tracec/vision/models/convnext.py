"""Convolutions in the manner of transformers. Source: Liu et al., "A ConvNet for the 2020s", 2022."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.vision.models.blocks import LayerNorm2d
from tracec.vision.models.registry import model, no_bias
from tracec.vision.ops.misc import Permute, StochasticDepth


class CNBlock(nn.Module):
    """A convolution of each channel by itself, and two linear layers at each pixel; and what goes past them.

    Args:
        dim: Channels.
        layer_scale: What the block's scales begin with.
        stochastic_depth_prob: How often it is left out while training.
    """

    def __init__(self, dim: int, layer_scale: float, stochastic_depth_prob: float) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(dim, dim, 7, padding=3, groups=dim),
            Permute([0, 2, 3, 1]),
            nn.LayerNorm(dim, eps=1e-6),
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Linear(4 * dim, dim),
            Permute([0, 3, 1, 2]),
        )
        self.layer_scale = nn.Parameter(tracec.ones(dim, 1, 1) * layer_scale)
        self.stochastic_depth = StochasticDepth(stochastic_depth_prob, "row")

    def forward(self, x: Tensor) -> Tensor:
        """The image, ``(N, dim, H, W)``."""
        return self.stochastic_depth(self.layer_scale * self.block(x)) + x


class ConvNeXt(nn.Module):
    """Stages of blocks, each half as large as the one before.

    Args:
        channels: Of each stage.
        counts: How many blocks each stage has.
        stochastic_depth_prob: How often the last block is left out while training; those before less.
        layer_scale: What blocks' scales begin with.
        num_classes: How many numbers come out.
    """

    def __init__(
        self,
        channels: Sequence[int],
        counts: Sequence[int],
        stochastic_depth_prob: float = 0.0,
        layer_scale: float = 1e-6,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        norm = functools.partial(LayerNorm2d, eps=1e-6)
        layers = [nn.Sequential(nn.Conv2d(3, channels[0], 4, 4), norm(channels[0]))]
        done, last = 0, max(sum(counts) - 1, 1)
        for k, (width, count) in enumerate(zip(channels, counts, strict=True)):
            blocks = [CNBlock(width, layer_scale, stochastic_depth_prob * (done + j) / last) for j in range(count)]
            layers.append(nn.Sequential(*blocks))
            done += count
            if k + 1 < len(channels):
                layers.append(nn.Sequential(norm(width), nn.Conv2d(width, channels[k + 1], 2, 2)))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(norm(channels[-1]), nn.Flatten(1), nn.Linear(channels[-1], num_classes))
        for part in self.modules():
            if isinstance(part, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(part.weight, std=0.02)
                no_bias(part)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(self.avgpool(self.features(x)))


def _convnext(channels: Sequence[int], counts: Sequence[int], drop: float, kwargs: dict[str, Any]) -> ConvNeXt:
    return ConvNeXt(channels, counts, **{"stochastic_depth_prob": drop, **kwargs})


@model
def convnext_tiny(**kwargs: Any) -> ConvNeXt:
    """The smallest `ConvNeXt`; takes what that takes but channels and counts."""
    return _convnext((96, 192, 384, 768), (3, 3, 9, 3), 0.1, kwargs)


@model
def convnext_small(**kwargs: Any) -> ConvNeXt:
    """A `ConvNeXt` of 50 million numbers; takes what that takes but channels and counts."""
    return _convnext((96, 192, 384, 768), (3, 3, 27, 3), 0.4, kwargs)


@model
def convnext_base(**kwargs: Any) -> ConvNeXt:
    """A `ConvNeXt` of 89 million numbers; takes what that takes but channels and counts."""
    return _convnext((128, 256, 512, 1024), (3, 3, 27, 3), 0.5, kwargs)


@model
def convnext_large(**kwargs: Any) -> ConvNeXt:
    """A `ConvNeXt` of 198 million numbers; takes what that takes but channels and counts."""
    return _convnext((192, 384, 768, 1536), (3, 3, 27, 3), 0.5, kwargs)
