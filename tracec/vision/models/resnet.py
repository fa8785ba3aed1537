"""Residual networks. Source: He et al., "Deep residual learning for image recognition", 2015."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError
from tracec.vision.models.registry import kaiming, model

Norm = Callable[..., nn.Module]


def _conv3x3(inputs: int, outputs: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, groups=groups, bias=False, dilation=dilation)


def _conv1x1(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """Two convolutions, and what goes past them.

    Args:
        inplanes: Channels of the input.
        planes: Channels of the output.
        stride: Of the first convolution.
        downsample: What makes the input fit the output.
        groups: 1.
        base_width: 64.
        dilation: 1.
        norm_layer: Makes a norm for so many channels.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64 or dilation > 1:
            raise ArgumentError(
                f"BasicBlock: groups={groups}, base_width={base_width}, dilation={dilation}", hint="Bottleneck has them"
            )
        self.conv1 = _conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, planes, H / stride, W / stride)``."""
        past = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)) + past)


class Bottleneck(nn.Module):
    """A convolution of fewer channels between two of single pixels, and what goes past them.

    Args:
        inplanes: Channels of the input.
        planes: A quarter of the channels of the output.
        stride: Of the middle convolution.
        downsample: What makes the input fit the output.
        groups: Of the middle convolution.
        base_width: Of a group, where ``planes`` is 64.
        dilation: Of the middle convolution.
        norm_layer: Makes a norm for so many channels.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = _conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = _conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = _conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to ``(N, 4 planes, H / stride, W / stride)``."""
        past = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)) + past)


class ResNet(nn.Module):
    """Four stages of residual blocks between a convolution and a linear layer.

    Args:
        block: The class of the blocks.
        layers: How many blocks each stage has.
        num_classes: How many numbers come out.
        zero_init_residual: Begin with blocks that change nothing.
        groups: Of the blocks' convolutions.
        width_per_group: Of a group in the first stage.
        replace_stride_with_dilation: Of the last three stages, whether they look farther apart and stay as large.
        norm_layer: Makes a norm for so many channels.

    Raises:
        ArgumentError: there are not three of ``replace_stride_with_dilation``.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self._norm_layer = norm_layer or nn.BatchNorm2d
        dilated = replace_stride_with_dilation or (False, False, False)
        if len(dilated) != 3:
            raise ArgumentError(f"ResNet: replace_stride_with_dilation={dilated!r}", hint="three, for the last stages")
        self.inplanes, self.dilation, self.groups, self.base_width = 64, 1, groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._stage(block, 64, layers[0], 1, False)
        self.layer2 = self._stage(block, 128, layers[1], 2, dilated[0])
        self.layer3 = self._stage(block, 256, layers[2], 2, dilated[1])
        self.layer4 = self._stage(block, 512, layers[3], 2, dilated[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        kaiming(self, spread=None)
        if zero_init_residual:
            for part in self.modules():
                if isinstance(part, (BasicBlock, Bottleneck)):
                    nn.init.zeros_((part.bn3 if isinstance(part, Bottleneck) else part.bn2).weight)

    def _stage(self, block: Any, planes: int, count: int, stride: int, dilate: bool) -> nn.Sequential:
        before = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        outputs, downsample = planes * block.expansion, None
        if stride != 1 or self.inplanes != outputs:
            downsample = nn.Sequential(_conv1x1(self.inplanes, outputs, stride), self._norm_layer(outputs))
        how = (self.groups, self.base_width)
        blocks = [block(self.inplanes, planes, stride, downsample, *how, before, self._norm_layer)]
        self.inplanes = outputs
        blocks += [block(outputs, planes, 1, None, *how, self.dilation, self._norm_layer) for _ in range(1, count)]
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(tracec.flatten(self.avgpool(x), 1))


@model
def resnet18(**kwargs: Any) -> ResNet:
    """A `ResNet` of 18 layers; takes what that takes."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **kwargs)


@model
def resnet34(**kwargs: Any) -> ResNet:
    """A `ResNet` of 34 layers; takes what that takes."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **kwargs)


@model
def resnet50(**kwargs: Any) -> ResNet:
    """A `ResNet` of 50 layers; takes what that takes."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **kwargs)


@model
def resnet101(**kwargs: Any) -> ResNet:
    """A `ResNet` of 101 layers; takes what that takes."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **kwargs)


@model
def resnet152(**kwargs: Any) -> ResNet:
    """A `ResNet` of 152 layers; takes what that takes."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **kwargs)


@model
def resnext50_32x4d(**kwargs: Any) -> ResNet:
    """A `ResNet` of 50 layers in 32 groups of 4. Source: Xie et al., "Aggregated residual transformations", 2016."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"groups": 32, "width_per_group": 4, **kwargs})


@model
def resnext101_32x8d(**kwargs: Any) -> ResNet:
    """A `ResNet` of 101 layers in 32 groups of 8; see `resnext50_32x4d`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"groups": 32, "width_per_group": 8, **kwargs})


@model
def resnext101_64x4d(**kwargs: Any) -> ResNet:
    """A `ResNet` of 101 layers in 64 groups of 4; see `resnext50_32x4d`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"groups": 64, "width_per_group": 4, **kwargs})


@model
def wide_resnet50_2(**kwargs: Any) -> ResNet:
    """A `ResNet` of 50 layers, twice as wide within. Source: Zagoruyko, Komodakis, "Wide residual networks", 2016."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{"width_per_group": 128, **kwargs})


@model
def wide_resnet101_2(**kwargs: Any) -> ResNet:
    """A `ResNet` of 101 layers, twice as wide within; see `wide_resnet50_2`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{"width_per_group": 128, **kwargs})
