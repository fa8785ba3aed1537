"""Residual networks whose widths are a line, rounded. Source: Radosavovic et al., "Designing network design spaces",
2020."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import divisible, model, no_bias
from tracec.vision.ops.misc import Conv2dNormActivation, SqueezeExcitation

Layer = Callable[..., nn.Module]


@dataclass
class BlockParams:
    """What each stage is like.

    Args:
        depths: How many blocks.
        widths: Channels of its output.
        group_widths: Channels of each group of its convolutions.
        bottleneck_multipliers: What its width is multiplied by within blocks.
        strides: Of its first block.
        se_ratio: Numbers that say how channels are scaled, as a share of the block's input; None for no scales.
    """

    depths: list[int]
    widths: list[int]
    group_widths: list[int]
    bottleneck_multipliers: list[float]
    strides: list[int]
    se_ratio: float | None = None

    @classmethod
    def from_init_params(
        cls,
        depth: int,
        w_0: int,
        w_a: float,
        w_m: float,
        group_width: int,
        bottleneck_multiplier: float = 1.0,
        se_ratio: float | None = None,
        **_: Any,
    ) -> BlockParams:
        """Stages of blocks that have the same width, of widths that grow along a line.

        Args:
            depth: How many blocks there are.
            w_0: Where the line begins, a multiple of 8.
            w_a: By how much it grows with each block.
            w_m: Widths are those of ``w_0`` times powers of this, next to the line.
            group_width: Channels of each group of convolutions.
            bottleneck_multiplier: What widths are multiplied by within blocks.
            se_ratio: See above.

        Raises:
            ArgumentError: there is no such line.

        Source: the paper, equations 2 to 4.
        """
        if w_a < 0 or w_0 <= 0 or w_m <= 1 or w_0 % 8:
            raise ArgumentError(
                f"BlockParams: w_0={w_0}, w_a={w_a}, w_m={w_m}",
                hint="w_0 is a multiple of 8 above 0, w_a is not below 0, and w_m is above 1",
            )
        line = np.arange(depth) * w_a + w_0
        powers = np.round(np.log(line / w_0) / math.log(w_m))
        of_blocks = (np.round(w_0 * np.power(w_m, powers) / 8) * 8).astype(int)
        widths, depths = (found.tolist() for found in np.unique(of_blocks, return_counts=True))  # they never shrink
        within = [int(width * bottleneck_multiplier) for width in widths]
        groups = [min(group_width, width) for width in within]
        widths = [
            int(divisible(width, group) / bottleneck_multiplier) for width, group in zip(within, groups, strict=True)
        ]
        return cls(depths, widths, groups, [bottleneck_multiplier] * len(widths), [2] * len(widths), se_ratio)


class _Block(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        group: int,
        multiplier: float,
        se_ratio: float | None,
        norm: Layer,
        activation: Layer,
    ) -> None:
        super().__init__()
        how: Any = {"norm_layer": norm, "activation_layer": activation}
        last: Any = {"norm_layer": norm, "activation_layer": None}
        self.proj = None
        if inputs != outputs or stride != 1:
            self.proj = Conv2dNormActivation(inputs, outputs, 1, stride, **last)
        within = round(outputs * multiplier)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            a=Conv2dNormActivation(inputs, within, 1, **how),
            b=Conv2dNormActivation(within, within, 3, stride, groups=within // group, **how),
        )
        if se_ratio:
            layers["se"] = SqueezeExcitation(within, round(se_ratio * inputs), activation=activation)
        layers["c"] = Conv2dNormActivation(within, outputs, 1, **last)
        self.f = nn.Sequential(layers)
        self.activation = activation(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The image after the block, and what goes past it."""
        return self.activation((x if self.proj is None else self.proj(x)) + self.f(x))


class RegNet(nn.Module):
    """Stages of residual blocks after a convolution.

    Args:
        block_params: What the stages are like.
        num_classes: How many numbers come out.
        stem_width: Channels of the first convolution.
        norm_layer: Makes a norm for so many channels.
        activation: Makes an activation.
    """

    def __init__(
        self,
        block_params: BlockParams,
        num_classes: int = 1000,
        stem_width: int = 32,
        norm_layer: Layer | None = None,
        activation: Layer | None = None,
    ) -> None:
        super().__init__()
        norm, act, p = norm_layer or nn.BatchNorm2d, activation or nn.ReLU, block_params
        self.stem = Conv2dNormActivation(3, stem_width, 3, 2, norm_layer=norm, activation_layer=act)
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        inputs = stem_width
        each = zip(p.depths, p.widths, p.strides, p.group_widths, p.bottleneck_multipliers, strict=True)
        for k, (depth, width, stride, group, multiplier) in enumerate(each, 1):
            blocks: OrderedDict[str, nn.Module] = OrderedDict()
            for j in range(depth):
                how = (width, 1 if j else stride, group, multiplier, p.se_ratio, norm, act)
                blocks[f"block{k}-{j}"] = _Block(width if j else inputs, *how)
            stages[f"block{k}"], inputs = nn.Sequential(blocks), width
        self.trunk_output = nn.Sequential(stages)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(inputs, num_classes)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                # Groups don't see less than all of what comes out: so were the published weights begun.
                nn.init.normal_(part.weight, std=math.sqrt(2 / (math.prod(part.kernel_size) * part.out_channels)))
        nn.init.normal_(self.fc.weight, std=0.01)
        no_bias(self.fc)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.fc(tracec.flatten(self.avgpool(self.trunk_output(self.stem(x))), 1))


def _regnet(
    depth: int, w_0: int, w_a: float, w_m: float, group: int, se_ratio: float | None, kwargs: dict[str, Any]
) -> RegNet:
    return RegNet(BlockParams.from_init_params(depth, w_0, w_a, w_m, group, se_ratio=se_ratio), **kwargs)


@model
def regnet_x_400mf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 400 million multiplications an image; takes what that takes but stages."""
    return _regnet(22, 24, 24.48, 2.54, 16, None, kwargs)


@model
def regnet_x_800mf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 800 million multiplications an image; takes what that takes but stages."""
    return _regnet(16, 56, 35.73, 2.28, 16, None, kwargs)


@model
def regnet_x_1_6gf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 1.6 billion multiplications an image; takes what that takes but stages."""
    return _regnet(18, 80, 34.01, 2.25, 24, None, kwargs)


@model
def regnet_x_3_2gf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 3.2 billion multiplications an image; takes what that takes but stages."""
    return _regnet(25, 88, 26.31, 2.25, 48, None, kwargs)


@model
def regnet_x_8gf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 8 billion multiplications an image; takes what that takes but stages."""
    return _regnet(23, 80, 49.56, 2.88, 120, None, kwargs)


@model
def regnet_x_16gf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 16 billion multiplications an image; takes what that takes but stages."""
    return _regnet(22, 216, 55.59, 2.1, 128, None, kwargs)


@model
def regnet_x_32gf(**kwargs: Any) -> RegNet:
    """A `RegNet`, of 32 billion multiplications an image; takes what that takes but stages."""
    return _regnet(23, 320, 69.86, 2.0, 168, None, kwargs)


@model
def regnet_y_400mf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 400 million multiplications an image; takes what that takes but stages."""
    return _regnet(16, 48, 27.89, 2.09, 8, 0.25, kwargs)


@model
def regnet_y_800mf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 800 million multiplications an image; takes what that takes but stages."""
    return _regnet(14, 56, 38.84, 2.4, 16, 0.25, kwargs)


@model
def regnet_y_1_6gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 1.6 billion multiplications an image; takes what that takes but stages."""
    return _regnet(27, 48, 20.71, 2.65, 24, 0.25, kwargs)


@model
def regnet_y_3_2gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 3.2 billion multiplications an image; takes what that takes but stages."""
    return _regnet(21, 80, 42.63, 2.66, 24, 0.25, kwargs)


@model
def regnet_y_8gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 8 billion multiplications an image; takes what that takes but stages."""
    return _regnet(17, 192, 76.82, 2.19, 56, 0.25, kwargs)


@model
def regnet_y_16gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 16 billion multiplications an image; takes what that takes but stages."""
    return _regnet(18, 200, 106.23, 2.48, 112, 0.25, kwargs)


@model
def regnet_y_32gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 32 billion multiplications an image; takes what that takes but stages."""
    return _regnet(20, 232, 115.89, 2.53, 232, 0.25, kwargs)


@model
def regnet_y_128gf(**kwargs: Any) -> RegNet:
    """A `RegNet` with scaled channels, of 128 billion multiplications an image; takes what that takes but stages."""
    return _regnet(27, 456, 160.83, 2.52, 264, 0.25, kwargs)
