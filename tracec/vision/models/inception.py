"""Branches of convolutions side by side: GoogLeNet and the third version of it.

Sources: Szegedy et al., "Going deeper with convolutions", 2014, and "Rethinking the Inception architecture", 2015.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.vision.models.registry import model


class BasicConv2d(nn.Module):
    """A convolution, a batch norm, and a rectifier.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        **kwargs: What `Conv2d` takes.
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(N, in_channels, H, W)`` to images of ``out_channels``."""
        return F.relu(self.bn(self.conv(x)))


def _begin(net: nn.Module, spread: float, others: Mapping[nn.Module, float] | None = None) -> None:
    """First values of convolutions and linear layers: normal, of this deviation or their own."""
    for part in net.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(part.weight, std=(others or {}).get(part, spread), a=-2, b=2)


def _as_they_were(x: Tensor) -> Tensor:
    """Images that were normed by the means and deviations of ImageNet, normed by 0.5 instead."""
    means, deviations = (
        tracec.tensor(n, dtype=x.dtype, device=x.device)[:, None, None]
        for n in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    return x * (deviations / 0.5) + (means - 0.5) / 0.5


class GoogLeNetOutputs(NamedTuple):
    """What training gives: the scores, and those of classifiers on the way where there are such."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class InceptionOutputs(NamedTuple):
    """What training gives: the scores, and those of the classifier on the way."""

    logits: Tensor
    aux_logits: Tensor | None


class _Inception(nn.Module):
    """A branch of single pixels, two of squeezed images, and one of the largest around each pixel."""

    def __init__(self, inputs: int, one: int, red3: int, three: int, red5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branch1 = BasicConv2d(inputs, one, kernel_size=1)
        # The third branch's kernels have 3 as well, not 5: so are the published weights.
        for k, (squeezed, outputs) in ((2, (red3, three)), (3, (red5, five))):
            first = BasicConv2d(inputs, squeezed, kernel_size=1)
            second = BasicConv2d(squeezed, outputs, kernel_size=3, padding=1)
            setattr(self, f"branch{k}", nn.Sequential(first, second))
        pool = nn.MaxPool2d(3, 1, 1, ceil_mode=True)
        self.branch4 = nn.Sequential(pool, BasicConv2d(inputs, pooled, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        """The branches' channels, side by side."""
        return tracec.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], 1)


class _GoogLeNetAux(nn.Module):
    def __init__(self, inputs: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = BasicConv2d(inputs, 128, kernel_size=1)
        self.fc1 = nn.Linear(2048, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Scores on the way."""
        x = tracec.flatten(self.conv(F.adaptive_avg_pool2d(x, (4, 4))), 1)
        return self.fc2(self.dropout(F.relu(self.fc1(x))))


#: Channels of the input and of the branches of each block.
_GOOGLE = {
    "3a": (192, 64, 96, 128, 16, 32, 32), "3b": (256, 128, 128, 192, 32, 96, 64), "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64), "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64), "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128), "5b": (832, 384, 192, 384, 48, 128, 128),
}  # fmt: skip


class GoogLeNet(nn.Module):
    """Nine blocks of branches, with two classifiers on the way for training.

    Args:
        num_classes: How many numbers come out.
        aux_logits: Whether there are classifiers on the way.
        transform_input: Whether images are normed by ImageNet's means, and are to be normed by 0.5 first.
        init_weights: Whether layers begin with truncated normal numbers.
        dropout: How often numbers before the linear layer are left out.
        dropout_aux: Alike, of the classifiers on the way.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = True,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        for name, channels in _GOOGLE.items():
            setattr(self, f"inception{name}", _Inception(*channels))
            if name in ("3b", "4e"):
                pool = nn.MaxPool2d(3 if name == "3b" else 2, 2, ceil_mode=True)
                setattr(self, "maxpool3" if name == "3b" else "maxpool4", pool)
        self.aux1 = _GoogLeNetAux(512, num_classes, dropout_aux) if aux_logits else None
        self.aux2 = _GoogLeNetAux(528, num_classes, dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(1024, num_classes)
        if init_weights is not False:
            _begin(self, 0.01)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``; in training, with scores on the way."""
        x = _as_they_were(x) if self.transform_input else x
        x = self.maxpool2(self.conv3(self.conv2(self.maxpool1(self.conv1(x)))))
        x = four = self.inception4a(self.maxpool3(self.inception3b(self.inception3a(x))))
        x = last = self.inception4d(self.inception4c(self.inception4b(x)))
        x = self.inception5b(self.inception5a(self.maxpool4(self.inception4e(x))))
        x = self.fc(self.dropout(tracec.flatten(self.avgpool(x), 1)))
        if not (self.training and self.aux_logits):
            return x
        two, one = ((None if aux is None else aux(seen)) for aux, seen in ((self.aux2, last), (self.aux1, four)))
        return GoogLeNetOutputs(x, two, one)


@model
def googlenet(**kwargs: Any) -> GoogLeNet:
    """A `GoogLeNet`; takes what that takes."""
    return GoogLeNet(**kwargs)


class _Step(NamedTuple):
    """A convolution that keeps sizes, or, of stride 2, has no border."""

    outputs: int
    kernel: tuple[int, int]
    stride: int = 1

    def make(self, inputs: int) -> BasicConv2d:
        """The convolution, of so many channels."""
        around = tuple(k // 2 for k in self.kernel) if self.stride == 1 else 0
        return BasicConv2d(inputs, self.outputs, kernel_size=self.kernel, stride=self.stride, padding=around)


def _square(outputs: int, kernel: int, stride: int = 1) -> _Step:
    return _Step(outputs, (kernel, kernel), stride)


#: Steps of a branch, the last of which may be two side by side.
Branch = Sequence[_Step | tuple[_Step, _Step]]


class _Mixed(nn.Module):
    """Branches side by side, each of steps that are called by the branch's name and their number.

    Args:
        inputs: Channels of the input.
        branches: By their names.
        pooled: Channels of a branch of averages around each pixel; 0 for the largest of each two by two alone.
    """

    def __init__(self, inputs: int, branches: Mapping[str, Branch], pooled: int) -> None:
        super().__init__()
        self._ways: list[list[tuple[str, ...]]] = []
        for name, steps in branches.items():
            way: list[tuple[str, ...]] = []
            channels = inputs
            for k, step in enumerate(steps, 1):
                several = isinstance(step, tuple) and not isinstance(step, _Step)
                abreast: Any = step if several else (step,)
                start = f"branch{name}_{k}" if len(steps) > 1 else f"branch{name}"
                names = tuple(start + letter for letter in ("ab" if several else ("",)))
                for called, one in zip(names, abreast, strict=True):
                    setattr(self, called, one.make(channels))
                way.append(names)
                channels = abreast[0].outputs
            self._ways.append(way)
        if pooled:
            self.branch_pool = BasicConv2d(inputs, pooled, kernel_size=1)
        self._pooled = pooled

    def forward(self, x: Tensor) -> Tensor:
        """The branches' channels, side by side."""
        found = []
        for way in self._ways:
            y = x
            for names in way:
                several = [getattr(self, name)(y) for name in names]
                y = several[0] if len(several) == 1 else tracec.cat(several, 1)
            found.append(y)
        past = self.branch_pool(F.avg_pool2d(x, 3, 1, 1)) if self._pooled else F.max_pool2d(x, 3, 2)
        return tracec.cat([*found, past], 1)


def _mixed_a(inputs: int, pooled: int) -> _Mixed:
    double = (_square(64, 1), _square(96, 3), _square(96, 3))
    return _Mixed(inputs, {"1x1": [_square(64, 1)], "5x5": [_square(48, 1), _square(64, 5)], "3x3dbl": double}, pooled)


def _mixed_b(inputs: int) -> _Mixed:
    double = (_square(64, 1), _square(96, 3), _square(96, 3, 2))
    return _Mixed(inputs, {"3x3": [_square(384, 3, 2)], "3x3dbl": double}, 0)


def _mixed_c(inputs: int, between: int) -> _Mixed:
    row, column = _Step(between, (1, 7)), _Step(between, (7, 1))
    once = (_square(between, 1), row, column._replace(outputs=192))
    twice = (_square(between, 1), column, row, column, row._replace(outputs=192))
    return _Mixed(inputs, {"1x1": [_square(192, 1)], "7x7": once, "7x7dbl": twice}, 192)


def _mixed_d(inputs: int) -> _Mixed:
    long = (_square(192, 1), _Step(192, (1, 7)), _Step(192, (7, 1)), _square(192, 3, 2))
    return _Mixed(inputs, {"3x3": [_square(192, 1), _square(320, 3, 2)], "7x7x3": long}, 0)


def _mixed_e(inputs: int) -> _Mixed:
    cross = (_Step(384, (1, 3)), _Step(384, (3, 1)))
    once, twice = (_square(384, 1), cross), (_square(448, 1), _square(384, 3), cross)
    return _Mixed(inputs, {"1x1": [_square(320, 1)], "3x3": once, "3x3dbl": twice}, 192)


class _InceptionAux(nn.Module):
    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.conv0 = BasicConv2d(inputs, 128, kernel_size=1)
        self.conv1 = BasicConv2d(128, 768, kernel_size=5)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Scores on the way."""
        x = self.conv1(self.conv0(F.avg_pool2d(x, 5, 3)))
        return self.fc(tracec.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


#: The blocks, in order; the classifier on the way comes before the last three.
_THIRD = {
    "5b": functools.partial(_mixed_a, 192, 32), "5c": functools.partial(_mixed_a, 256, 64),
    "5d": functools.partial(_mixed_a, 288, 64), "6a": functools.partial(_mixed_b, 288),
    "6b": functools.partial(_mixed_c, 768, 128), "6c": functools.partial(_mixed_c, 768, 160),
    "6d": functools.partial(_mixed_c, 768, 160), "6e": functools.partial(_mixed_c, 768, 192),
    "7a": functools.partial(_mixed_d, 768), "7b": functools.partial(_mixed_e, 1280),
    "7c": functools.partial(_mixed_e, 2048),
}  # fmt: skip


class Inception3(nn.Module):
    """Eleven blocks of branches, with a classifier on the way for training; images of 75 or more, best of 299.

    Args:
        num_classes: How many numbers come out.
        aux_logits: Whether there is a classifier on the way.
        transform_input: Whether images are normed by ImageNet's means, and are to be normed by 0.5 first.
        init_weights: Whether layers begin with truncated normal numbers.
        dropout: How often numbers before the linear layer are left out.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = nn.MaxPool2d(3, 2)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.maxpool2 = nn.MaxPool2d(3, 2)
        self.AuxLogits: nn.Module | None = None
        for name, make in _THIRD.items():
            if name == "7a" and aux_logits:
                self.AuxLogits = _InceptionAux(768, num_classes)
            setattr(self, f"Mixed_{name}", make())
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights is not False:
            aux = self.AuxLogits
            _begin(self, 0.1, {} if aux is None else {aux.conv1.conv: 0.01, aux.fc: 0.001})

    def forward(self, x: Tensor) -> Tensor | InceptionOutputs:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``; in training, with scores on the way."""
        x = _as_they_were(x) if self.transform_input else x
        x = self.maxpool1(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = self.maxpool2(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        aux = None
        for name in _THIRD:
            if name == "7a" and self.training and self.AuxLogits is not None:
                aux = self.AuxLogits(x)
            x = getattr(self, f"Mixed_{name}")(x)
        x = self.fc(tracec.flatten(self.dropout(self.avgpool(x)), 1))
        return InceptionOutputs(x, aux) if self.training and self.aux_logits else x


@model
def inception_v3(**kwargs: Any) -> Inception3:
    """An `Inception3`; takes what that takes."""
    return Inception3(**kwargs)
