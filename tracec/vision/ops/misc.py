"""Layers that models of several kinds share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError


class FrozenBatchNorm2d(nn.Module):
    """Batch norm whose statistics and scales stay as they are: buffers, of which nothing is trained.

    Args:
        num_features: Channels.
        eps: Added to the variance.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", tracec.ones(num_features))
        self.register_buffer("bias", tracec.zeros(num_features))
        self.register_buffer("running_mean", tracec.zeros(num_features))
        self.register_buffer("running_var", tracec.ones(num_features))

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
        # A batch norm that was trained counted its batches.
        if isinstance(state_dict, Mapping):
            state_dict.pop(f"{prefix}num_batches_tracked", None)  # type: ignore[attr-defined]
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """The input, ``(N, C, H, W)``, less the mean, over the deviation, scaled and moved."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return x * scale[:, None, None] + shift[:, None, None]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.weight)}, eps={self.eps})"


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


def stochastic_depth(input: Tensor, p: float, mode: str, training: bool = True) -> Tensor:
    """Samples that are zero now and then, and scaled up otherwise, while training. Source: Huang et al., 2016.

    Args:
        input: ``(N, ...)``.
        p: How often.
        mode: ``row``: each sample by itself; ``batch``: all of them or none.
        training: Nothing is left out otherwise.

    Raises:
        ArgumentError: it is no probability, or the mode is not known.
    """
    if not 0 <= p <= 1 or mode not in ("row", "batch"):
        raise ArgumentError(f"StochasticDepth: p={p!r}, mode={mode!r}", hint="0 to 1, and row or batch")
    if not training or p == 0:
        return input
    count = input.shape[0] if mode == "row" else 1
    kept = tracec.rand((count, *[1] * (input.ndim - 1)), dtype=input.dtype, device=input.device) < 1 - p
    return input * kept.to(input.dtype) / max(1 - p, 1e-12)


class StochasticDepth(nn.Module):
    """`stochastic_depth` as a layer.

    Args:
        p: How often samples are left out.
        mode: ``row``: each sample by itself; ``batch``: all of them or none.

    Raises:
        ArgumentError: it is no probability, or the mode is not known.
    """

    def __init__(self, p: float, mode: str = "row") -> None:
        super().__init__()
        stochastic_depth(tracec.zeros(0), p, mode, training=False)  # refuses what is no probability, or no mode
        self.p, self.mode = p, mode

    def forward(self, x: Tensor) -> Tensor:
        """The input, with samples left out."""
        return stochastic_depth(x, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"


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


def _of_each_axis(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)


class _ConvNormActivation(nn.Sequential):
    """What `Conv2dNormActivation` and `Conv3dNormActivation` are, whose classes say how many axes there are."""

    convolution: type[nn.Conv2d] | type[nn.Conv3d]
    axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str | None = None,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] | None = nn.BatchNorm2d,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        dilation: int | Sequence[int] = 1,
        inplace: bool | None = True,
        bias: bool | None = None,
    ) -> None:
        if padding is None:
            sizes, steps = _of_each_axis(kernel_size, self.axes), _of_each_axis(dilation, self.axes)
            padding = tuple((size - 1) // 2 * step for size, step in zip(sizes, steps, strict=True))
        how: Any = {"dilation": dilation, "groups": groups, "bias": norm_layer is None if bias is None else bias}
        layers: list[nn.Module] = [self.convolution(in_channels, out_channels, kernel_size, stride, padding, **how)]
        if norm_layer is not None:
            layers.append(norm_layer(out_channels))
        if activation_layer is not None:
            layers.append(activation_layer() if inplace is None else activation_layer(inplace=inplace))
        super().__init__(*layers)
        self.out_channels = out_channels


class Conv2dNormActivation(_ConvNormActivation):
    """A convolution of images, a norm, and an activation, where there are such.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the convolution.
        stride: Alike.
        padding: Alike; by default what keeps sizes but for the stride, where the kernel is odd.
        groups: Alike.
        norm_layer: Makes a norm for so many channels; or None.
        activation_layer: Makes an activation; or None.
        dilation: Of the convolution.
        inplace: What the activation is given under this name; None for nothing.
        bias: Whether the convolution has one; by default, where there is no norm.
    """

    convolution, axes = nn.Conv2d, 2


class Conv3dNormActivation(_ConvNormActivation):
    """`Conv2dNormActivation` of volumes; give a norm of volumes with ``norm_layer`` for another than batch norm."""

    convolution, axes = nn.Conv3d, 3

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str | None = None,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] | None = nn.BatchNorm3d,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups, norm_layer, *args, **kwargs)


class MLP(nn.Sequential):
    """Linear layers, with a norm, an activation and dropout after each but the last, which has dropout alone.

    Args:
        in_channels: Numbers of the input.
        hidden_channels: Numbers that each layer gives.
        norm_layer: Makes a norm for so many numbers; or None.
        activation_layer: Makes an activation; or None.
        inplace: What activations and dropout are given under this name; None for nothing.
        bias: Whether layers have biases.
        dropout: How often numbers are left out.

    Raises:
        ArgumentError: there is no layer.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int],
        norm_layer: Callable[..., nn.Module] | None = None,
        activation_layer: Callable[..., nn.Module] | None = nn.ReLU,
        inplace: bool | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        if not hidden_channels:
            raise ArgumentError("MLP: hidden_channels is empty", hint="give how many numbers each layer gives")
        how: Any = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        for width in hidden_channels[:-1]:
            layers.append(nn.Linear(in_channels, width, bias=bias))
            if norm_layer is not None:
                layers.append(norm_layer(width))
            if activation_layer is not None:
                layers.append(activation_layer(**how))
            layers.append(nn.Dropout(dropout, **how))
            in_channels = width
        super().__init__(*layers, nn.Linear(in_channels, hidden_channels[-1], bias=bias), nn.Dropout(dropout, **how))


__all__ = [
    "MLP", "Conv2dNormActivation", "Conv3dNormActivation", "FrozenBatchNorm2d", "Permute", "SqueezeExcitation",
    "StochasticDepth", "stochastic_depth",
]  # fmt: skip
