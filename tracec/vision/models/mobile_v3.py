"""MobileNet v3. Source: Howard et al., "Searching for MobileNetV3", 2019, tables 1 and 2."""

from __future__ import annotations

import functools
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.vision.models.registry import divisible, kaiming, model
from tracec.vision.ops.misc import Conv2dNormActivation, SqueezeExcitation

#: Of each block: kernel, channels between and of the output, whether channels are scaled, whether the activation is
#: Hardswish, and stride.
Row = tuple[int, int, int, bool, bool, int]

_LARGE: tuple[Row, ...] = (
    (3, 16, 16, False, False, 1), (3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1),
    (5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1),
    (3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
    (3, 184, 80, False, True, 1), (3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1),
    (5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1),
)  # fmt: skip
_SMALL: tuple[Row, ...] = (
    (3, 16, 16, True, False, 2), (3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1),
    (5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1),
    (5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1), (5, 288, 96, True, True, 2),
    (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1),
)  # fmt: skip

_norm = functools.partial(nn.BatchNorm2d, eps=0.001, momentum=0.01)


class _Block(nn.Module):
    def __init__(self, inputs: int, row: Row) -> None:
        super().__init__()
        kernel, between, outputs, scaled, hard, stride = row
        self.use_res_connect = stride == 1 and inputs == outputs
        how: Any = {"norm_layer": _norm, "activation_layer": nn.Hardswish if hard else nn.ReLU}
        layers: list[nn.Module] = [] if between == inputs else [Conv2dNormActivation(inputs, between, 1, **how)]
        layers.append(Conv2dNormActivation(between, between, kernel, stride, groups=between, **how))
        if scaled:
            layers.append(SqueezeExcitation(between, divisible(between // 4), scale_activation=nn.Hardsigmoid))
        layers.append(Conv2dNormActivation(between, outputs, 1, norm_layer=_norm, activation_layer=None))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """The image after the block, and what goes past it."""
        return self.block(x) + x if self.use_res_connect else self.block(x)


class MobileNetV3(nn.Module):
    """Inverted residuals, some with scaled channels, between two convolutions.

    Args:
        inverted_residual_setting: Of each block: kernel, channels between and of the output, whether channels are
            scaled, whether the activation is Hardswish, and stride.
        last_channel: Numbers between the two linear layers.
        num_classes: How many numbers come out.
        dropout: How often numbers before the last linear layer are left out.
    """

    def __init__(
        self,
        inverted_residual_setting: tuple[Row, ...],
        last_channel: int,
        num_classes: int = 1000,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        how: Any = {"norm_layer": _norm, "activation_layer": nn.Hardswish}
        layers: list[nn.Module] = [Conv2dNormActivation(3, 16, 3, 2, **how)]
        channels = 16
        for row in inverted_residual_setting:
            layers.append(_Block(channels, row))
            channels = row[2]
        layers.append(Conv2dNormActivation(channels, 6 * channels, 1, **how))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * channels, last_channel),
            nn.Hardswish(inplace=True),
            nn.Dropout(dropout, inplace=True),
            nn.Linear(last_channel, num_classes),
        )
        kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(self.avgpool(self.features(x)), 1))


@model
def mobilenet_v3_large(**kwargs: Any) -> MobileNetV3:
    """The larger `MobileNetV3`; takes ``num_classes`` and ``dropout``."""
    return MobileNetV3(_LARGE, 1280, **kwargs)


@model
def mobilenet_v3_small(**kwargs: Any) -> MobileNetV3:
    """The smaller `MobileNetV3`; takes ``num_classes`` and ``dropout``."""
    return MobileNetV3(_SMALL, 1024, **kwargs)
