"""Halves of channels that take turns. Source: Ma et al., "ShuffleNet V2", 2018."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import model
from tracec.vision.ops.misc import Conv2dNormActivation


def _alone(channels: int, stride: int) -> list[nn.Module]:
    """A convolution of each channel by itself, and a norm."""
    convolution = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
    return [convolution, nn.BatchNorm2d(channels)]


class InvertedResidual(nn.Module):
    """Two branches whose channels are dealt out alternately; without a stride one of them leaves its half as it is.

    Args:
        inp: Channels of the input.
        oup: Channels of the output.
        stride: 1 to 3.

    Raises:
        ArgumentError: the stride is another, or it is 1 and channels are not kept and even.
    """

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        half = oup // 2
        if not 1 <= stride <= 3 or (stride == 1 and inp != 2 * half):
            raise ArgumentError(
                f"InvertedResidual: inp={inp}, oup={oup}, stride={stride}",
                hint="with stride 1 both are the same, even number",
            )
        self.stride = stride
        point = Conv2dNormActivation
        self.branch1 = nn.Sequential(*([] if stride == 1 else [*_alone(inp, stride), *point(inp, half, 1)]))
        first = point(half if stride == 1 else inp, half, 1)
        self.branch2 = nn.Sequential(*first, *_alone(half, stride), *point(half, half, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, inp, H, W)`` to ``(N, oup, H / stride, W / stride)``."""
        one, two = x.chunk(2, 1) if self.stride == 1 else (x, x)
        return tracec.stack([self.branch1(one), self.branch2(two)], 2).flatten(1, 2)


class ShuffleNetV2(nn.Module):
    """Three stages between two convolutions.

    Args:
        stages_repeats: How many blocks each stage has.
        stages_out_channels: Channels of the first convolution, of each stage, and of the last convolution.
        num_classes: How many numbers come out.

    Raises:
        ArgumentError: there are not three stages and five widths.
    """

    def __init__(
        self, stages_repeats: Sequence[int], stages_out_channels: Sequence[int], num_classes: int = 1000
    ) -> None:
        super().__init__()
        if len(stages_repeats) != 3 or len(stages_out_channels) != 5:
            raise ArgumentError(
                f"ShuffleNetV2: stages_repeats={stages_repeats!r}, stages_out_channels={stages_out_channels!r}",
                hint="three stages; channels of the first convolution, of each stage, and of the last convolution",
            )
        first, *widths, last = stages_out_channels
        self.conv1 = nn.Sequential(*Conv2dNormActivation(3, first, 3, 2))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        stages, inputs = [], first
        for count, width in zip(stages_repeats, widths, strict=True):
            again = [InvertedResidual(width, width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(InvertedResidual(inputs, width, 2), *again))
            inputs = width
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(*Conv2dNormActivation(inputs, last, 1))
        self.fc = nn.Linear(last, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        x = self.stage4(self.stage3(self.stage2(self.maxpool(self.conv1(x)))))
        return self.fc(self.conv5(x).mean([2, 3]))


@model
def shufflenet_v2_x0_5(**kwargs: Any) -> ShuffleNetV2:
    """A `ShuffleNetV2` of half the width; takes ``num_classes``."""
    return ShuffleNetV2([4, 8, 4], [24, 48, 96, 192, 1024], **kwargs)


@model
def shufflenet_v2_x1_0(**kwargs: Any) -> ShuffleNetV2:
    """A `ShuffleNetV2`; takes ``num_classes``."""
    return ShuffleNetV2([4, 8, 4], [24, 116, 232, 464, 1024], **kwargs)


@model
def shufflenet_v2_x1_5(**kwargs: Any) -> ShuffleNetV2:
    """A `ShuffleNetV2` one and a half times as wide; takes ``num_classes``."""
    return ShuffleNetV2([4, 8, 4], [24, 176, 352, 704, 1024], **kwargs)


@model
def shufflenet_v2_x2_0(**kwargs: Any) -> ShuffleNetV2:
    """A `ShuffleNetV2` twice as wide; takes ``num_classes``."""
    return ShuffleNetV2([4, 8, 4], [24, 244, 488, 976, 2048], **kwargs)
