"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError
from tracec.functions.common import per_axis
from tracec.ir.dtype import DType
from tracec.nn import init
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What all convolutions share.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        kernel_size: Sizes of the window.
        stride: Steps between windows.
        padding: Elements on both sides, or ``"same"`` or ``"valid"``.
        dilation: Steps between the elements of a window.
        groups: Blocks of channels that do not mix.
        bias: Whether there is a bias.
        padding_mode: What is padded with: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight: Shape ``(out_channels, in_channels / groups, *kernel_size)``; uniform at first, within
            ±1/sqrt(in_channels / groups · product of kernel_size).
        bias: Shape ``(out_channels,)``; uniform within the same bounds at first.
    """

    spatial: int
    transposed = False
    output_padding: tuple[int, ...] = ()
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        name, n = type(self).__name__, self.spatial
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{name}: {in_channels} input and {out_channels} output channels do not divide into {groups} groups",
                hint="groups divides both",
            )
        if padding_mode not in _MODES:
            raise ArgumentError(f"{name}: padding_mode={padding_mode!r} is not known", hint=f"use one of {_MODES}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(name, kernel_size, n, "kernel_size")
        self.stride = per_axis(name, stride, n, "stride")
        self.padding = padding if isinstance(padding, str) else per_axis(name, padding, n, "padding")
        self.dilation = per_axis(name, dilation, n, "dilation")
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(F.empty(first, second // groups, *self.kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(F.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the first values again."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)

    def _padded(self, x: Tensor) -> tuple[Tensor, Any]:
        """The input padded by other things than zeros, and the zeros that are still to pad."""
        if self.padding_mode == "zeros":
            return x, self.padding
        amounts: list[int] = []
        for i in reversed(range(self.spatial)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                amounts += [total // 2, total - total // 2]
            else:
                amounts += [0, 0] if self.padding == "valid" else [int(self.padding[i])] * 2
        return F.pad(x, amounts, mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.spatial:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.spatial:
            text += f", dilation={self.dilation}"
        if any(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class Conv1d(_Conv):
    """Convolution over one axis."""

    spatial = 1

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, L)`` to ``(N, out_channels, L')``."""
        x, padding = self._padded(input)
        return F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Convolution over two axes."""

    spatial = 2

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        x, padding = self._padded(input)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Convolution over three axes."""

    spatial = 3

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, D, H, W)`` to ``(N, out_channels, D', H', W')``."""
        x, padding = self._padded(input)
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose2d(_Conv):
    """Transposed convolution over two axes; the weight is ``(in_channels, out_channels / groups, *kernel_size)``.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        kernel_size: Sizes of the window.
        stride: Steps between windows.
        padding: So much is cut off from the result.
        output_padding: Added to one side of the result.
        groups: Blocks of channels that do not mix.
        bias: Whether there is a bias.
        dilation: Steps between the elements of a window.
        device: Where the parameters live.
        dtype: Their element type.
    """

    spatial = 2
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, "zeros", device, dtype
        )
        self.output_padding = per_axis("ConvTranspose2d", output_padding, 2, "output_padding")

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        assert not isinstance(self.padding, str)
        return F.conv_transpose2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.output_padding,
            self.groups,
            self.dilation,
        )
