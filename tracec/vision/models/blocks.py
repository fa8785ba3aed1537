"""What several models are made of."""

from __future__ import annotations

from collections.abc import Callable

import tracec.nn.functional as F
from tracec import Tensor, nn


class ConvNormActivation(nn.Sequential):
    """A convolution that keeps sizes but for its stride, a norm, and an activation, where there are such.

    Args:
        inputs: Channels of the input.
        outputs: Channels of the output.
        kernel_size: Odd.
        stride: Of the convolution.
        groups: Of the convolution.
        norm_layer: Makes a norm for so many channels.
        activation_layer: Makes an activation.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
    ) -> None:
        around = (kernel_size - 1) // 2
        convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, around, groups=groups, bias=False)
        layers = [convolution, norm_layer(outputs)]
        if activation_layer is not None:
            layers.append(activation_layer(inplace=True))
        super().__init__(*layers)
        self.out_channels = outputs


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """The normed image, ``(N, C, H, W)``."""
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


__all__ = ["ConvNormActivation", "LayerNorm2d"]
