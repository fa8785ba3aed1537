"""Images at several sizes, the small ones added to the large ones.

Source: Lin et al., "Feature Pyramid Networks", 2016.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.vision.ops.misc import Conv2dNormActivation


class ExtraFPNBlock(nn.Module):
    """What adds images to those of a pyramid: called with results, inputs and names, it gives results and names."""


class LastLevelMaxPool(ExtraFPNBlock):
    """Adds every second pixel of the last image, as ``pool``."""

    def forward(self, x: list[Tensor], y: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """See `ExtraFPNBlock`."""
        return [*x, F.max_pool2d(x[-1], 1, 2, 0)], [*names, "pool"]


class LastLevelP6P7(ExtraFPNBlock):
    """Adds two convolutions that halve sizes, as ``p6`` and ``p7``.

    Args:
        in_channels: Of what they begin with: the last result where it has as many as the results, else the last input.
        out_channels: Of the results.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        _begin(self)
        self.use_P5 = in_channels == out_channels

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """See `ExtraFPNBlock`."""
        six = self.p6(p[-1] if self.use_P5 else c[-1])
        return [*p, six, self.p7(F.relu(six))], [*names, "p6", "p7"]


def _begin(module: nn.Module) -> None:
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_uniform_(part.weight, a=1)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class FeaturePyramidNetwork(nn.Module):
    """Images of one count of channels, of images at several sizes: each with what the smaller ones say added.

    Args:
        in_channels_list: Channels of each image, the largest image first.
        out_channels: Channels of each result.
        extra_blocks: Adds others to the results.
        norm_layer: Makes a norm for so many channels; convolutions have biases otherwise.

    Raises:
        ArgumentError: an image has no channels.
        ArgumentTypeError: ``extra_blocks`` is no such block.
    """

    _version = 2  # what torchvision writes into files of weights

    def __init__(
        self,
        in_channels_list: Sequence[int],
        out_channels: int,
        extra_blocks: ExtraFPNBlock | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if not in_channels_list or 0 in in_channels_list:
            raise ArgumentError(
                f"FeaturePyramidNetwork: in_channels_list={in_channels_list!r}", hint="one or more each"
            )
        if extra_blocks is not None and not isinstance(extra_blocks, ExtraFPNBlock):
            raise ArgumentTypeError(
                f"FeaturePyramidNetwork: extra_blocks is {type(extra_blocks).__name__}", hint="an ExtraFPNBlock"
            )
        how: Any = {"norm_layer": norm_layer, "activation_layer": None}
        self.inner_blocks = nn.ModuleList(Conv2dNormActivation(n, out_channels, 1, **how) for n in in_channels_list)
        self.layer_blocks = nn.ModuleList(
            Conv2dNormActivation(out_channels, out_channels, 3, **how) for _ in in_channels_list
        )
        _begin(self)
        self.extra_blocks = extra_blocks

    def forward(self, x: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
        """Map images by their names, the largest first, to results by theirs."""
        names, images = list(x), list(x.values())
        if len(images) != len(self.inner_blocks):
            raise ArgumentError(
                f"FeaturePyramidNetwork: {len(images)} images for {len(self.inner_blocks)} sizes",
                hint="one for each of in_channels_list",
            )
        sums: list[Tensor] = []
        for inner, image in zip(reversed(self.inner_blocks), reversed(images), strict=True):
            found = inner(image)
            if sums:
                found = found + F.interpolate(sums[-1], size=tuple(found.shape[-2:]), mode="nearest")
            sums.append(found)
        results = [layer(found) for layer, found in zip(self.layer_blocks, reversed(sums), strict=True)]
        if self.extra_blocks is not None:
            results, names = self.extra_blocks(results, images, names)
        return OrderedDict(zip(names, results, strict=True))


__all__ = ["ExtraFPNBlock", "FeaturePyramidNetwork", "LastLevelMaxPool", "LastLevelP6P7"]
