"""Inverted residuals that a search chose for phones. Source: Tan et al., "MnasNet", 2018."""

from __future__ import annotations

from typing import Any

from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import divisible, kaiming, model

#: Batches that published weights were trained with count so little in running statistics.
_MOMENTUM = 1 - 0.9997


def _conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs, momentum=_MOMENTUM)]


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, widening: int) -> None:
        super().__init__()
        between = inputs * widening
        self.apply_residual = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            *_conv(inputs, between),
            nn.ReLU(inplace=True),
            *_conv(between, between, kernel, stride, between),
            nn.ReLU(inplace=True),
            *_conv(between, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The image after the block, and what goes past it."""
        return self.layers(x) + x if self.apply_residual else self.layers(x)


#: Kernel, stride, widening, channels and count of each stage.
_STAGES = ((3, 2, 3, 24, 3), (5, 2, 3, 40, 3), (5, 2, 6, 80, 3), (3, 1, 6, 96, 2), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))


class MNASNet(nn.Module):
    """Stages of inverted residuals between convolutions.

    Args:
        alpha: What channels are multiplied by.
        num_classes: How many numbers come out.
        dropout: How often numbers before the linear layer are left out.

    Raises:
        ArgumentError: ``alpha`` is not above 0.
    """

    _version = 2  # what torchvision writes into files of weights

    def __init__(self, alpha: float, num_classes: int = 1000, dropout: float = 0.2) -> None:
        super().__init__()
        if alpha <= 0:
            raise ArgumentError(f"MNASNet: alpha={alpha}", hint="channels are multiplied by it: give more than 0")
        self.alpha, self.num_classes = alpha, num_classes
        first, channels = (divisible(width * alpha) for width in (32, 16))
        layers: list[nn.Module] = [
            *_conv(3, first, 3, 2),
            nn.ReLU(inplace=True),
            *_conv(first, first, 3, 1, first),
            nn.ReLU(inplace=True),
            *_conv(first, channels),
        ]
        for kernel, stride, widening, width, count in _STAGES:
            outputs = divisible(width * alpha)
            again = [_Block(outputs, outputs, kernel, 1, widening) for _ in range(count - 1)]
            layers.append(nn.Sequential(_Block(channels, outputs, kernel, stride, widening), *again))
            channels = outputs
        self.layers = nn.Sequential(*layers, *_conv(channels, 1280), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Dropout(dropout, inplace=True), nn.Linear(1280, num_classes))
        kaiming(self)
        nn.init.kaiming_uniform_(self.classifier[1].weight, mode="fan_out", nonlinearity="sigmoid")

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(self.layers(x).mean([2, 3]))


@model
def mnasnet0_5(**kwargs: Any) -> MNASNet:
    """An `MNASNet` of half the width; takes ``num_classes`` and ``dropout``."""
    return MNASNet(0.5, **kwargs)


@model
def mnasnet0_75(**kwargs: Any) -> MNASNet:
    """An `MNASNet` of three quarters of the width; takes ``num_classes`` and ``dropout``."""
    return MNASNet(0.75, **kwargs)


@model
def mnasnet1_0(**kwargs: Any) -> MNASNet:
    """An `MNASNet`; takes ``num_classes`` and ``dropout``."""
    return MNASNet(1.0, **kwargs)


@model
def mnasnet1_3(**kwargs: Any) -> MNASNet:
    """An `MNASNet` of 1.3 times the width; takes ``num_classes`` and ``dropout``."""
    return MNASNet(1.3, **kwargs)
