"""What several models are made of."""

from __future__ import annotations

from collections.abc import Callable

import tracec
import tracec.nn.functional as F
from tracec import Tensor, nn
from tracec.errors import ArgumentError


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


class SqueezeExcitation(nn.Module):
    """Channels, each scaled by what all of them say on average. Source: Hu et al., 2017.

    Args:
        input_channels: How many there are.
        squeeze_channels: How many numbers stand for all of them between.
        activation: Makes what is between.
        scale_activation: Makes what gives the scales.
    """

    def __init__(
        self,
        input_channels: int,
        squeeze_channels: int,
        activation: Callable[..., nn.Module] = nn.ReLU,
        scale_activation: Callable[..., nn.Module] = nn.Sigmoid,
    ) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)
        self.fc2 = nn.Conv2d(squeeze_channels, input_channels, 1)
        self.activation = activation()
        self.scale_activation = scale_activation()

    def forward(self, x: Tensor) -> Tensor:
        """The scaled channels, ``(N, C, H, W)``."""
        return x * self.scale_activation(self.fc2(self.activation(self.fc1(self.avgpool(x)))))


class StochasticDepth(nn.Module):
    """Samples that are zero now and then, and scaled up otherwise, while training. Source: Huang et al., 2016.

    Args:
        p: How often.
        mode: ``row``: each sample by itself; ``batch``: all of them or none.

    Raises:
        ArgumentError: it is no probability, or the mode is not known.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        if not 0 <= p <= 1 or mode not in ("row", "batch"):
            raise ArgumentError(f"StochasticDepth: p={p!r}, mode={mode!r}", hint="0 to 1, and row or batch")
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        """The input, with samples left out."""
        if not self.training or self.p == 0:
            return x
        count = x.shape[0] if self.mode == "row" else 1
        kept = tracec.rand((count, *[1] * (x.ndim - 1)), dtype=x.dtype, device=x.device) < 1 - self.p
        return x * kept.to(x.dtype) / max(1 - self.p, 1e-12)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each pixel."""

    def forward(self, x: Tensor) -> Tensor:
        """The normed image, ``(N, C, H, W)``."""
        last = x.permute(0, 2, 3, 1)
        return F.layer_norm(last, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class Permute(nn.Module):
    """Axes in another order.

    Args:
        dims: The order.
    """

    def __init__(self, dims: list[int]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        """The input with its axes in the order."""
        return x.permute(*self.dims)


__all__ = ["ConvNormActivation", "LayerNorm2d", "Permute", "SqueezeExcitation", "StochasticDepth"]
