"""Networks of layers in one row: AlexNet, VGG, SqueezeNet."""

from __future__ import annotations

from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.vision.models.registry import kaiming, model, no_bias


class AlexNet(nn.Module):
    """Five convolutions and three linear layers. Source: Krizhevsky, "One weird trick", 2014.

    Args:
        num_classes: How many numbers come out.
        dropout: How often numbers before the linear layers are left out.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(self.avgpool(self.features(x)), 1))


@model
def alexnet(**kwargs: Any) -> AlexNet:
    """An `AlexNet`; takes what that takes."""
    return AlexNet(**kwargs)


#: Channels of the convolutions of each VGG; 0 stands for a pooling layer.
_CHANNELS: dict[int, list[int]] = {
    11: [64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
    13: [64, 64, 0, 128, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0],
    16: [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0],
    19: [64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0],
}


class VGG(nn.Module):
    """Convolutions of 3 × 3 and three linear layers. Source: Simonyan, Zisserman, 2014.

    Args:
        features: The convolutions, which give 512 channels.
        num_classes: How many numbers come out.
        init_weights: Give first values that suit rectified layers.
        dropout: How often numbers between the linear layers are left out.
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return self.classifier(tracec.flatten(self.avgpool(self.features(x)), 1))


def _vgg(depth: int, normed: bool, **kwargs: Any) -> VGG:
    layers: list[nn.Module] = []
    channels = 3
    for count in _CHANNELS[depth]:
        if not count:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers.append(nn.Conv2d(channels, count, 3, padding=1))
        layers += [nn.BatchNorm2d(count)] if normed else []
        layers.append(nn.ReLU(inplace=True))
        channels = count
    return VGG(nn.Sequential(*layers), **kwargs)


@model
def vgg11(**kwargs: Any) -> VGG:
    """A `VGG` of 11 layers; takes what that takes but ``features``."""
    return _vgg(11, False, **kwargs)


@model
def vgg11_bn(**kwargs: Any) -> VGG:
    """A `VGG` of 11 layers with batch norm; takes what that takes but ``features``."""
    return _vgg(11, True, **kwargs)


@model
def vgg13(**kwargs: Any) -> VGG:
    """A `VGG` of 13 layers; takes what that takes but ``features``."""
    return _vgg(13, False, **kwargs)


@model
def vgg13_bn(**kwargs: Any) -> VGG:
    """A `VGG` of 13 layers with batch norm; takes what that takes but ``features``."""
    return _vgg(13, True, **kwargs)


@model
def vgg16(**kwargs: Any) -> VGG:
    """A `VGG` of 16 layers; takes what that takes but ``features``."""
    return _vgg(16, False, **kwargs)


@model
def vgg16_bn(**kwargs: Any) -> VGG:
    """A `VGG` of 16 layers with batch norm; takes what that takes but ``features``."""
    return _vgg(16, True, **kwargs)


@model
def vgg19(**kwargs: Any) -> VGG:
    """A `VGG` of 19 layers; takes what that takes but ``features``."""
    return _vgg(19, False, **kwargs)


@model
def vgg19_bn(**kwargs: Any) -> VGG:
    """A `VGG` of 19 layers with batch norm; takes what that takes but ``features``."""
    return _vgg(19, True, **kwargs)


class Fire(nn.Module):
    """A convolution of single pixels to few channels, and two side by side to more.

    Args:
        inplanes: Channels of the input.
        squeeze_planes: Channels between.
        expand1x1_planes: Channels of the one.
        expand3x3_planes: Channels of the other.
    """

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, C, H, W)`` to as many pixels of the channels of both."""
        x = self.squeeze_activation(self.squeeze(x))
        both = [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))]
        return tracec.cat(both, 1)


#: Layers of both versions: channels, kernel and stride of the first convolution, and then of each `Fire`; 0: a pool.
_FIRES = {
    "1_0": (96, 7, [0, (96, 16), (128, 16), (128, 32), 0, (256, 32), (256, 48), (384, 48), (384, 64), 0, (512, 64)]),
    "1_1": (64, 3, [0, (64, 16), (128, 16), 0, (128, 32), (256, 32), 0, (256, 48), (384, 48), (384, 64), (512, 64)]),
}


class SqueezeNet(nn.Module):
    """`Fire` modules, and no linear layer. Source: Iandola et al., "SqueezeNet", 2016.

    Args:
        version: ``1_0`` or ``1_1``.
        num_classes: How many numbers come out.
        dropout: How often numbers before the last convolution are left out.
    """

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.num_classes = num_classes
        channels, kernel, rest = _FIRES[version]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, kernel, 2), nn.ReLU(inplace=True)]
        for part in rest:
            if isinstance(part, tuple):
                inputs, few = part
                layers.append(Fire(inputs, few, 4 * few, 4 * few))
            else:
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1)))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight)
                no_bias(part)
        nn.init.normal_(last.weight, 0.0, 0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        return tracec.flatten(self.classifier(self.features(x)), 1)


@model
def squeezenet1_0(**kwargs: Any) -> SqueezeNet:
    """A `SqueezeNet` of its first version; takes what that takes but ``version``."""
    return SqueezeNet("1_0", **kwargs)


@model
def squeezenet1_1(**kwargs: Any) -> SqueezeNet:
    """A `SqueezeNet` with fewer operations; takes what that takes but ``version``."""
    return SqueezeNet("1_1", **kwargs)
