"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import functions as F
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions.common import integers, per_axis
from tracec.ir.dtype import DType
from tracec.nn import init
from tracec.nn.module import Module
from tracec.nn.parameter import Parameter
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]

_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """What all convolutions share; arguments as of `Conv2d`."""

    spatial: int
    transposed = False
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
        in_channels, out_channels, groups = integers(name, (in_channels, out_channels, groups), "channels and groups")
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"{name}: {in_channels} input and {out_channels} output channels do not divide into {groups} groups",
                hint="groups divides both",
            )
        if padding_mode not in (("zeros",) if self.transposed else _MODES):
            known = "'zeros'" if self.transposed else ", ".join(map(repr, _MODES))
            raise ArgumentError(f"{name}: padding_mode={padding_mode!r} is not known", hint=f"use {known}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ArgumentError(f"{name}: padding={padding!r} is not known", hint="use integers, 'same' or 'valid'")
        if padding == "same" and any(s != 1 for s in per_axis(name, stride, n, "stride")):
            raise ArgumentError(f"{name}: padding='same' with stride={stride}", hint="pad by numbers instead")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = per_axis(name, kernel_size, n, "kernel_size")
        self.stride = per_axis(name, stride, n, "stride")
        self.padding = padding if isinstance(padding, str) else per_axis(name, padding, n, "padding")
        self.dilation = per_axis(name, dilation, n, "dilation")
        self.padding_mode = padding_mode
        self.output_padding: tuple[int, ...] = (0,) * n
        self._reversed_padding_repeated_twice = self._amounts()
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

    def _amounts(self) -> tuple[int, ...]:
        """Elements before and behind each axis, from the last axis to the first, as `pad` takes them."""
        amounts: list[int] = []
        for i in reversed(range(self.spatial)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                amounts += [total // 2, total - total // 2]
            else:
                amounts += [0, 0] if self.padding == "valid" else [int(self.padding[i])] * 2
        return tuple(amounts)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with other parameters: what layers that are made of this one call, or put another for."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        run = (F.conv1d, F.conv2d, F.conv3d)[self.spatial - 1]
        return run(input, weight, bias, self.stride, padding, self.dilation, self.groups)

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
    """Convolution over one axis, of ``(N, C, L)`` or ``(C, L)``; arguments as of `Conv2d`, with one size each."""

    spatial = 1

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, L)`` to ``(N, out_channels, L')``."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv2d(_Conv):
    """Convolution over two axes: ``(N, C, H, W)`` or ``(C, H, W)`` to as many axes, with ``out_channels`` channels.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        kernel_size: Sizes of the window, ``(height, width)`` or one number for both; so with the sizes below.
        stride: Steps between windows.
        padding: Elements put on both sides, or ``"same"`` (so many that the sizes stay) or ``"valid"`` (none).
        dilation: Steps between the elements of a window.
        groups: Blocks of channels that do not mix; divides both numbers of channels.
        bias: Whether there is a bias.
        padding_mode: What is padded with: ``zeros``, ``reflect``, ``replicate`` or ``circular``.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight: Shape ``(out_channels, in_channels / groups, height, width)``; uniform at first, within
            ±1/sqrt(in_channels / groups · height · width).
        bias: Shape ``(out_channels,)``; uniform within the same bounds at first.

    Raises:
        ArgumentError: the groups do not divide the channels, or an option is not known.
    """

    spatial = 2

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        return self._conv_forward(input, self.weight, self.bias)


class Conv3d(_Conv):
    """Convolution over three axes, of ``(N, C, D, H, W)`` or ``(C, D, H, W)``; arguments as of `Conv2d`."""

    spatial = 3

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(N, in_channels, D, H, W)`` to ``(N, out_channels, D', H', W')``."""
        return self._conv_forward(input, self.weight, self.bias)


class _ConvTranspose(_Conv):
    """What transposed convolutions share.

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
        padding_mode: Only ``zeros``.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight: Shape ``(in_channels, out_channels / groups, *kernel_size)``.
        bias: Shape ``(out_channels,)``.
    """

    transposed = True
    padding: tuple[int, ...]

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
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: DType | None = None,
    ) -> None:
        if isinstance(padding, str):
            raise ArgumentTypeError(f"{type(self).__name__}: padding={padding!r}", hint="give integers")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )
        self.output_padding = per_axis(type(self).__name__, output_padding, self.spatial, "output_padding")

    def _options(self, input: Tensor, output_size: Sequence[int] | None) -> tuple[Any, ...]:
        extra = self.output_padding if output_size is None else self._padding_for(input, output_size)
        return self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation

    def _padding_for(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output_padding with which the result has these sizes."""
        name, n = type(self).__name__, self.spatial
        wanted = integers(name, output_size, "output_size")
        if len(wanted) == input.ndim:
            wanted = wanted[-n:]
        if len(wanted) != n:
            raise ArgumentError(
                f"{name}: output_size={tuple(output_size)} for input of shape {tuple(input.shape)}",
                hint=f"give {n} sizes, or {input.ndim}",
            )
        sizes = input.shape[-n:]
        axes = zip(sizes, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = tuple((size - 1) * step - 2 * p + d * (k - 1) + 1 for size, step, p, d, k in axes)
        if not all(low <= w < low + step for low, w, step in zip(least, wanted, self.stride, strict=True)):
            most = tuple(low + step - 1 for low, step in zip(least, self.stride, strict=True))
            raise ArgumentError(
                f"{name}: output_size={wanted} for input of shape {tuple(input.shape)}",
                hint=f"sizes from {least} to {most} convolve to the input's",
            )
        return tuple(w - low for w, low in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution over one axis; arguments as of `ConvTranspose2d`, with one size each."""

    spatial = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, in_channels, L)`` to ``(N, out_channels, L')``; ``output_size`` chooses among possible L'."""
        return F.conv_transpose1d(input, *self._options(input, output_size))


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution over two axes, of ``(N, C, H, W)`` or ``(C, H, W)``: the gradient of `Conv2d` as a layer.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the result.
        kernel_size: Sizes of the window, ``(height, width)`` or one number for both; so with the sizes below.
        stride: Steps between the windows that inputs are spread over.
        padding: Elements taken away from both sides of the result.
        output_padding: Elements added to one side of the result, fewer than the stride or the dilation.
        groups: Blocks of channels that do not mix; divides both numbers of channels.
        bias: Whether there is a bias.
        dilation: Steps between the elements of a window.
        padding_mode: ``zeros``, the only one.
        device: Where the parameters live.
        dtype: Their element type.

    Attributes:
        weight: Shape ``(in_channels, out_channels / groups, height, width)``.
        bias: Shape ``(out_channels,)``.

    Raises:
        ArgumentError: the groups do not divide the channels, or an option is not known.
    """

    spatial = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, in_channels, H, W)`` to ``(N, out_channels, H', W')``."""
        return F.conv_transpose2d(input, *self._options(input, output_size))


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution over three axes; arguments as of `ConvTranspose2d`."""

    spatial = 3

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Shape ``(N, in_channels, D, H, W)`` to ``(N, out_channels, D', H', W')``."""
        return F.conv_transpose3d(input, *self._options(input, output_size))
