"""Inverted residuals with scaled channels: EfficientNet and its second version, which begins with plain convolutions.

Sources: Tan, Le, "EfficientNet", 2019, and "EfficientNetV2", 2021.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import divisible, kaiming, model
from tracec.vision.ops.misc import Conv2dNormActivation, SqueezeExcitation, StochasticDepth

Norm = Callable[..., nn.Module]


class Stage(NamedTuple):
    """Blocks that follow each other.

    Args:
        expand_ratio: How many times as many channels are between.
        kernel: Size of the middle convolution.
        stride: Of the first block.
        input_channels: Channels of the first block's input.
        out_channels: Channels of each block's output.
        num_layers: How many blocks.
        fused: Whether the first two convolutions of each block are one of all channels, and nothing is scaled.
    """

    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    fused: bool = False


def MBConvConfig(
    expand_ratio: float,
    kernel: int,
    stride: int,
    input_channels: int,
    out_channels: int,
    num_layers: int,
    width_mult: float = 1.0,
    depth_mult: float = 1.0,
) -> Stage:
    """A `Stage` whose channels and count are multiplied, as torchvision calls it."""
    inputs, outputs = divisible(input_channels * width_mult), divisible(out_channels * width_mult)
    return Stage(expand_ratio, kernel, stride, inputs, outputs, math.ceil(num_layers * depth_mult))


FusedMBConvConfig = functools.partial(Stage, fused=True)


class MBConv(nn.Module):
    """An inverted residual, with scaled channels or as one convolution and one of single pixels.

    Args:
        stage: What it is like.
        drop: How often the block is left out while training.
        norm_layer: Makes a norm for so many channels.
    """

    def __init__(self, stage: Stage, drop: float, norm_layer: Norm) -> None:
        super().__init__()
        inputs, outputs = stage.input_channels, stage.out_channels
        self.use_res_connect = stage.stride == 1 and inputs == outputs
        between = divisible(inputs * stage.expand_ratio)
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        last: Any = {"norm_layer": norm_layer, "activation_layer": None}
        layers: list[nn.Module] = []
        if stage.fused:
            first = outputs if between == inputs else between
            layers.append(Conv2dNormActivation(inputs, first, stage.kernel, stage.stride, **how))
        else:
            if between != inputs:
                layers.append(Conv2dNormActivation(inputs, between, 1, **how))
            layers.append(Conv2dNormActivation(between, between, stage.kernel, stage.stride, groups=between, **how))
            silu = functools.partial(nn.SiLU, inplace=True)
            layers.append(SqueezeExcitation(between, max(1, inputs // 4), activation=silu))
        if not stage.fused or between != inputs:
            layers.append(Conv2dNormActivation(between, outputs, 1, **last))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop, "row")
        self.out_channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, input_channels, H, W)`` to ``(N, out_channels, H / stride, W / stride)``."""
        found = self.block(x)
        return self.stochastic_depth(found) + x if self.use_res_connect else found


class EfficientNet(nn.Module):
    """Stages of inverted residuals between two convolutions.

    Args:
        inverted_residual_setting: What each stage is like.
        dropout: How often numbers before the linear layer are left out.
        stochastic_depth_prob: How often the last block is left out while training; those before less.
        num_classes: How many numbers come out.
        norm_layer: Makes a norm for so many channels.
        last_channel: Channels before the linear layer; by default four times those of the last stage.

    Raises:
        ArgumentError: there is no stage.
    """

    def __init__(
        self,
        inverted_residual_setting: Sequence[Stage],
        dropout: float,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Norm | None = None,
        last_channel: int | None = None,
    ) -> None:
        super().__init__()
        stages = [Stage(*stage) for stage in inverted_residual_setting]
        if not stages:
            raise ArgumentError("EfficientNet: inverted_residual_setting is empty", hint="give a Stage or more")
        how: Any = {"norm_layer": norm_layer or nn.BatchNorm2d, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [Conv2dNormActivation(3, stages[0].input_channels, 3, 2, **how)]
        total, done = sum(stage.num_layers for stage in stages), 0
        for stage in stages:
            again = stage._replace(input_channels=stage.out_channels, stride=1)
            blocks = []
            for k in range(stage.num_layers):
                drop = stochastic_depth_prob * done / total
                blocks.append(MBConv(again if k else stage, drop, how["norm_layer"]))
                done += 1
            layers.append(nn.Sequential(*blocks))
        outputs = stages[-1].out_channels
        last = 4 * outputs if last_channel is None else last_channel
        layers.append(Conv2dNormActivation(outputs, last, 1, **how))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(last, num_classes))
        kaiming(self, spread=None)
        reach = 1.0 / math.sqrt(num_classes)
        nn.init.uniform_(self.classifier[1].weight, -reach, reach)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(self.avgpool(self.features(x)), 1))


#: Of the first version at its smallest.
_FIRST = (
    (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
)  # fmt: skip


def _first(width: float, depth: float, dropout: float, kwargs: dict[str, Any]) -> EfficientNet:
    return EfficientNet([MBConvConfig(*stage, width, depth) for stage in _FIRST], **{"dropout": dropout, **kwargs})


@model
def efficientnet_b0(**kwargs: Any) -> EfficientNet:
    """The smallest `EfficientNet`; takes what that takes but stages."""
    return _first(1.0, 1.0, 0.2, kwargs)


@model
def efficientnet_b1(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 240; takes what that takes but stages."""
    return _first(1.0, 1.1, 0.2, kwargs)


@model
def efficientnet_b2(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 260; takes what that takes but stages."""
    return _first(1.1, 1.2, 0.3, kwargs)


@model
def efficientnet_b3(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 300; takes what that takes but stages."""
    return _first(1.2, 1.4, 0.3, kwargs)


@model
def efficientnet_b4(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 380; takes what that takes but stages."""
    return _first(1.4, 1.8, 0.4, kwargs)


#: What published weights of the largest were trained with.
_slow_norm = functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


@model
def efficientnet_b5(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 456; takes what that takes but stages."""
    return _first(1.6, 2.2, 0.4, {"norm_layer": _slow_norm, **kwargs})


@model
def efficientnet_b6(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 528; takes what that takes but stages."""
    return _first(1.8, 2.6, 0.5, {"norm_layer": _slow_norm, **kwargs})


@model
def efficientnet_b7(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 600; takes what that takes but stages."""
    return _first(2.0, 3.1, 0.5, {"norm_layer": _slow_norm, **kwargs})


def _second(stages: Sequence[Stage], dropout: float, kwargs: dict[str, Any]) -> EfficientNet:
    how: dict[str, Any] = {"dropout": dropout, "last_channel": 1280}
    return EfficientNet(stages, **{**how, "norm_layer": functools.partial(nn.BatchNorm2d, eps=0.001), **kwargs})


@model
def efficientnet_v2_s(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` of the second version, of 21 million numbers; takes what that takes but stages."""
    stages = (
        Stage(1, 3, 1, 24, 24, 2, True), Stage(4, 3, 2, 24, 48, 4, True), Stage(4, 3, 2, 48, 64, 4, True),
        Stage(4, 3, 2, 64, 128, 6), Stage(6, 3, 1, 128, 160, 9), Stage(6, 3, 2, 160, 256, 15),
    )  # fmt: skip
    return _second(stages, 0.2, kwargs)


@model
def efficientnet_v2_m(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` of the second version, of 54 million numbers; takes what that takes but stages."""
    stages = (
        Stage(1, 3, 1, 24, 24, 3, True), Stage(4, 3, 2, 24, 48, 5, True), Stage(4, 3, 2, 48, 80, 5, True),
        Stage(4, 3, 2, 80, 160, 7), Stage(6, 3, 1, 160, 176, 14), Stage(6, 3, 2, 176, 304, 18),
        Stage(6, 3, 1, 304, 512, 5),
    )  # fmt: skip
    return _second(stages, 0.3, kwargs)


@model
def efficientnet_v2_l(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` of the second version, of 119 million numbers; takes what that takes but stages."""
    stages = (
        Stage(1, 3, 1, 32, 32, 4, True), Stage(4, 3, 2, 32, 64, 7, True), Stage(4, 3, 2, 64, 96, 7, True),
        Stage(4, 3, 2, 96, 192, 10), Stage(6, 3, 1, 192, 224, 19), Stage(6, 3, 2, 224, 384, 25),
        Stage(6, 3, 1, 384, 640, 7),
    )  # fmt: skip
    return _second(stages, 0.4, kwargs)
