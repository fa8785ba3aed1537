"""Networks whose layers see all layers before. Source: Huang et al., "Densely connected networks", 2016."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.vision.models.registry import kaiming, model, no_bias


class _DenseLayer(nn.Module):
    def __init__(self, inputs: int, growth: int, widening: int, drop: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, widening * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(widening * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(widening * growth, growth, 3, padding=1, bias=False)
        self.drop_rate = float(drop)

    def forward(self, before: Sequence[Tensor]) -> Tensor:
        """The new channels for all that came before."""
        x = self.conv1(self.relu1(self.norm1(tracec.cat(list(before), 1))))
        x = self.conv2(self.relu2(self.norm2(x)))
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate > 0 else x


class _DenseBlock(nn.ModuleDict):
    def __init__(self, count: int, inputs: int, growth: int, widening: int, drop: float) -> None:
        super().__init__()
        for k in range(count):
            self[f"denselayer{k + 1}"] = _DenseLayer(inputs + k * growth, growth, widening, drop)

    def forward(self, x: Tensor) -> Tensor:
        """The input's channels and those of each layer."""
        found = [x]
        for layer in self.values():
            found.append(layer(found))
        return tracec.cat(found, 1)


class _Transition(nn.Sequential):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(2, 2)


#: Names of layers in files of PyTorch's first years.
_OLD = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(\d)(?=\.)")


class DenseNet(nn.Module):
    """Blocks of layers that see all layers before.

    Args:
        growth_rate: How many channels each layer adds.
        block_config: How many layers each block has.
        num_init_features: Channels of the first convolution.
        bn_size: How many times as many channels are within a layer.
        drop_rate: How often what a layer adds is left out.
        num_classes: How many numbers come out.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
    ) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, num_init_features, 7, 2, 3, bias=False),
            norm0=nn.BatchNorm2d(num_init_features),
            relu0=nn.ReLU(inplace=True),
            pool0=nn.MaxPool2d(3, 2, 1),
        )
        channels = num_init_features
        for k, count in enumerate(block_config, 1):
            layers[f"denseblock{k}"] = _DenseBlock(count, channels, growth_rate, bn_size, drop_rate)
            channels += count * growth_rate
            if k < len(block_config):
                layers[f"transition{k}"] = _Transition(channels, channels // 2)
                channels //= 2
        layers["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(layers)
        self.classifier = nn.Linear(channels, num_classes)
        kaiming(self, "fan_in", spread=None)
        no_bias(self.classifier)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(N, 3, H, W)`` to ``(N, num_classes)``."""
        x = F.adaptive_avg_pool2d(F.relu(self.features(x)), (1, 1))
        return self.classifier(tracec.flatten(x, 1))

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Take values from a state; torchvision's files have the names of layers as they were once."""
        renamed = {_OLD.sub(r"\1\2", key): value for key, value in state_dict.items()}
        return super().load_state_dict(renamed, strict=strict, assign=assign)


def _densenet(growth: int, blocks: Sequence[int], first: int, kwargs: dict[str, Any]) -> DenseNet:
    return DenseNet(**{"growth_rate": growth, "block_config": blocks, "num_init_features": first, **kwargs})


@model
def densenet121(**kwargs: Any) -> DenseNet:
    """A `DenseNet` of 121 layers; takes what that takes."""
    return _densenet(32, (6, 12, 24, 16), 64, kwargs)


@model
def densenet161(**kwargs: Any) -> DenseNet:
    """A `DenseNet` of 161 layers; takes what that takes."""
    return _densenet(48, (6, 12, 36, 24), 96, kwargs)


@model
def densenet169(**kwargs: Any) -> DenseNet:
    """A `DenseNet` of 169 layers; takes what that takes."""
    return _densenet(32, (6, 12, 32, 32), 64, kwargs)


@model
def densenet201(**kwargs: Any) -> DenseNet:
    """A `DenseNet` of 201 layers; takes what that takes."""
    return _densenet(32, (6, 12, 48, 32), 64, kwargs)
