"""Networks whose convolutions are of each channel by itself: MobileNet v2 and EfficientNet."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.vision.models.blocks import ConvNormActivation
from tracec.vision.models.registry import divisible, kaiming, model
from tracec.vision.ops.misc import SqueezeExcitation, StochasticDepth

Norm = Callable[..., nn.Module]


class InvertedResidual(nn.Module):
    """More channels, a convolution of each by itself, fewer channels again; and what goes past them.

    Args:
        inp: Channels of the input.
        oup: Channels of the output.
        stride: 1 or 2.
        expand_ratio: How many times as many channels are between.
        norm_layer: Makes a norm for so many channels.
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int, norm_layer: Norm = nn.BatchNorm2d) -> None:
        super().__init__()
        between = round(inp * expand_ratio)
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        layers = [ConvNormActivation(inp, between, 1, **how)] if expand_ratio != 1 else []
        layers.append(ConvNormActivation(between, between, 3, stride, between, **how))
        self.conv = nn.Sequential(*layers, nn.Conv2d(between, oup, 1, bias=False), norm_layer(oup))
        self.use_res_connect = stride == 1 and inp == oup
        self.stride, self.out_channels = stride, oup

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inp, H, W)`` to ``(N, oup, H / stride, W / stride)``."""
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


#: Widening, channels, count and stride of each stage.
_MOBILE = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """Inverted residuals between two convolutions. Source: Sandler et al., "MobileNetV2", 2018.

    Args:
        num_classes: How many numbers come out.
        width_mult: What channels are multiplied by.
        inverted_residual_setting: Widening, channels, count and stride of each stage; by default the paper's.
        round_nearest: What channels are multiples of.
        norm_layer: Makes a norm for so many channels.
        dropout: How often numbers before the linear layer are left out.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        norm_layer: Norm = nn.BatchNorm2d,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.ReLU6}
        channels = divisible(32 * width_mult, round_nearest)
        self.last_channel = divisible(1280 * max(1.0, width_mult), round_nearest)
        layers: list[nn.Module] = [ConvNormActivation(3, channels, 3, 2, **how)]
        for widening, width, count, stride in inverted_residual_setting or _MOBILE:
            outputs = divisible(width * width_mult, round_nearest)
            for k in range(count):
                layers.append(InvertedResidual(channels, outputs, stride if k == 0 else 1, widening, norm_layer))
                channels = outputs
        layers.append(ConvNormActivation(channels, self.last_channel, 1, **how))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(F.adaptive_avg_pool2d(self.features(x), (1, 1)), 1))


@model
def mobilenet_v2(**kwargs: Any) -> MobileNetV2:
    """A `MobileNetV2`; takes what that takes."""
    return MobileNetV2(**kwargs)


class MBConv(nn.Module):
    """An inverted residual with scaled channels.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        widening: How many times as many channels are between.
        kernel: Size of the middle convolution.
        stride: Alike.
        drop: How often the block is left out while training.
        norm_layer: Makes a norm for so many channels.
    """

    def __init__(
        self, inputs: int, outputs: int, widening: int, kernel: int, stride: int, drop: float, norm_layer: Norm
    ) -> None:
        super().__init__()
        self.use_res_connect = stride == 1 and inputs == outputs
        between = divisible(inputs * widening)
        how: Any = {"norm_layer": norm_layer, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = []
        if between != inputs:
            layers.append(ConvNormActivation(inputs, between, 1, **how))
        layers.append(ConvNormActivation(between, between, kernel, stride, between, **how))
        silu = functools.partial(nn.SiLU, inplace=True)
        layers.append(SqueezeExcitation(between, max(1, inputs // 4), activation=silu))
        layers.append(ConvNormActivation(between, outputs, 1, norm_layer=norm_layer, activation_layer=None))
        self.block = nn.Sequential(*layers)
        self.stochastic_depth = StochasticDepth(drop, "row")
        self.out_channels = outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        found = self.block(x)
        return self.stochastic_depth(found) + x if self.use_res_connect else found


#: Widening, kernel, stride, channels before and after, and count of each stage.
_EFFICIENT = (
    (1, 3, 1, 32, 16, 1), (6, 3, 2, 16, 24, 2), (6, 5, 2, 24, 40, 2), (6, 3, 2, 40, 80, 3), (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4), (6, 3, 1, 192, 320, 1),
)  # fmt: skip


class EfficientNet(nn.Module):
    """Inverted residuals with scaled channels. Source: Tan, Le, "EfficientNet", 2019.

    Args:
        width_mult: What channels are multiplied by.
        depth_mult: What counts of blocks are multiplied by.
        dropout: How often numbers before the linear layer are left out.
        stochastic_depth_prob: How often the last block is left out while training; those before less.
        num_classes: How many numbers come out.
        norm_layer: Makes a norm for so many channels.
    """

    def __init__(
        self,
        width_mult: float = 1.0,
        depth_mult: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth_prob: float = 0.2,
        num_classes: int = 1000,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        how: Any = {"norm_layer": norm, "activation_layer": nn.SiLU}
        layers: list[nn.Module] = [ConvNormActivation(3, divisible(32 * width_mult), 3, 2, **how)]
        counts = [math.ceil(stage[-1] * depth_mult) for stage in _EFFICIENT]
        done, outputs = 0, 0
        for (widening, kernel, stride, before, after, _), count in zip(_EFFICIENT, counts, strict=True):
            inputs, outputs = divisible(before * width_mult), divisible(after * width_mult)
            blocks = []
            for k in range(count):
                drop = stochastic_depth_prob * done / sum(counts)
                blocks.append(
                    MBConv(
                        inputs if k == 0 else outputs, outputs, widening, kernel, stride if k == 0 else 1, drop, norm
                    )
                )
                done += 1
            layers.append(nn.Sequential(*blocks))
        layers.append(ConvNormActivation(outputs, 4 * outputs, 1, **how))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * outputs, num_classes))
        kaiming(self, spread=None)
        reach = 1.0 / math.sqrt(num_classes)
        nn.init.uniform_(self.classifier[1].weight, -reach, reach)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(self.avgpool(self.features(x)), 1))


def _efficientnet(width: float, depth: float, dropout: float, kwargs: dict[str, Any]) -> EfficientNet:
    return EfficientNet(**{"width_mult": width, "depth_mult": depth, "dropout": dropout, **kwargs})


@model
def efficientnet_b0(**kwargs: Any) -> EfficientNet:
    """The smallest `EfficientNet`; takes what that takes."""
    return _efficientnet(1.0, 1.0, 0.2, kwargs)


@model
def efficientnet_b1(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 240; takes what that takes."""
    return _efficientnet(1.0, 1.1, 0.2, kwargs)


@model
def efficientnet_b2(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 260; takes what that takes."""
    return _efficientnet(1.1, 1.2, 0.3, kwargs)


@model
def efficientnet_b3(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 300; takes what that takes."""
    return _efficientnet(1.2, 1.4, 0.3, kwargs)


@model
def efficientnet_b4(**kwargs: Any) -> EfficientNet:
    """An `EfficientNet` for images of 380; takes what that takes."""
    return _efficientnet(1.4, 1.8, 0.4, kwargs)
