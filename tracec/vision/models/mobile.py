"""MobileNet v2, whose convolutions are of each channel by itself. Source: Sandler et al., 2018."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.vision.models.registry import divisible, kaiming, model
from tracec.vision.ops.misc import Conv2dNormActivation

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
        layers = [Conv2dNormActivation(inp, between, 1, **how)] if expand_ratio != 1 else []
        layers.append(Conv2dNormActivation(between, between, 3, stride, groups=between, **how))
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
        layers: list[nn.Module] = [Conv2dNormActivation(3, channels, 3, 2, **how)]
        for widening, width, count, stride in inverted_residual_setting or _MOBILE:
            outputs = divisible(width * width_mult, round_nearest)
            for k in range(count):
                layers.append(InvertedResidual(channels, outputs, stride if k == 0 else 1, widening, norm_layer))
                channels = outputs
        layers.append(Conv2dNormActivation(channels, self.last_channel, 1, **how))
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
