"""Convolutions whose kernels read where they are told to. Sources: Dai et al., "Deformable Convolutional Networks",
2017, and Zhu et al., "Deformable ConvNets v2", 2018."""

from __future__ import annotations

import math
from collections.abc import Sequence

import tracec
from tracec import Tensor, nn
from tracec.errors import ArgumentError, ShapeError
from tracec.vision.ops.interpolated import between, rows_of
from tracec.vision.ops.roi import pair

Pair = int | Sequence[int]


def _check(input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, size: tuple[int, int]) -> int:
    """In how many groups of channels kernels are moved alike."""
    taps = weight.shape[2] * weight.shape[3]
    alike, rest = divmod(offset.shape[1], 2 * taps)
    if alike < 1 or rest or tuple(offset.shape) != (input.shape[0], 2 * alike * taps, *size):
        raise ShapeError(
            f"deform_conv2d: offset of shape {tuple(offset.shape)} for images {tuple(input.shape)} and weights "
            f"{tuple(weight.shape)}",
            hint=f"(N, 2 * groups * {taps}, {size[0]}, {size[1]})",
        )
    if mask is not None and tuple(mask.shape) != (input.shape[0], alike * taps, *size):
        raise ShapeError(
            f"deform_conv2d: mask of shape {tuple(mask.shape)}",
            hint=f"({input.shape[0]}, {alike * taps}, {size[0]}, {size[1]})",
        )
    channels = input.shape[1]
    if channels % weight.shape[1] or weight.shape[0] % (channels // weight.shape[1]) or channels % alike:
        raise ShapeError(
            f"deform_conv2d: weights of shape {tuple(weight.shape)} for {channels} channels, moved in {alike} groups",
            hint="(C', C / groups, kH, kW), where groups divide C and C'",
        )
    return alike


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    mask: Tensor | None = None,
) -> Tensor:
    """A convolution that reads between pixels, where each of its places says; there are zeros outside.

    Args:
        input: ``(N, C, H, W)``.
        offset: How far down and to the right of its place each weight reads,
            ``(N, 2 * moved * kH * kW, H', W')``: of each weight down, then right. Channels are moved alike in
            ``moved`` groups.
        weight: ``(C', C / groups, kH, kW)``.
        bias: ``(C',)``.
        stride: Of the convolution, down and to the right.
        padding: Alike.
        dilation: Alike.
        mask: What is read is multiplied by it, ``(N, moved * kH * kW, H', W')``.

    Returns:
        ``(N, C', H', W')``.

    Raises:
        ShapeError: shapes don't fit.
        ArgumentError: a stride or a dilation is not positive, or padding is negative.
    """
    (down, right), (top, left), (far_y, far_x) = pair(stride), pair(padding), pair(dilation)
    if min(down, right, far_y, far_x) < 1 or min(top, left) < 0:
        raise ArgumentError(
            f"deform_conv2d: stride={stride!r}, padding={padding!r}, dilation={dilation!r}",
            hint="at least 1, at least 0, at least 1",
        )
    if input.ndim != 4 or offset.ndim != 4 or weight.ndim != 4:
        raise ShapeError(
            f"deform_conv2d: shapes {tuple(input.shape)}, {tuple(offset.shape)}, {tuple(weight.shape)}",
            hint="images, offsets and weights have four axes",
        )
    count, channels, height, width = input.shape
    outputs, inputs, rows, columns = weight.shape
    tall = (height + 2 * top - far_y * (rows - 1) - 1) // down + 1
    wide = (width + 2 * left - far_x * (columns - 1) - 1) // right + 1
    alike = _check(input, offset, weight, mask, (tall, wide))
    moved = offset.view(count, alike, rows, columns, 2, tall, wide)
    y, x = (tracec.arange(n, device=input.device) for n in (tall, wide))
    i, j = (tracec.arange(n, device=input.device) for n in (rows, columns))
    y = (y * down - top)[:, None] + (i * far_y)[:, None, None, None] + moved[:, :, :, :, 0]
    x = (x * right - left) + (j * far_x)[:, None, None] + moved[:, :, :, :, 1]
    split = input.reshape(count * alike, channels // alike, height, width)
    start = (tracec.arange(count * alike, device=input.device) * (height * width)).view(count, alike, 1, 1, 1, 1)
    read = between(rows_of(split), start, y, x, height, width, clamped=False)  # (N, moved, kH, kW, H', W', C / moved)
    if mask is not None:
        read = read * mask.view(count, alike, rows, columns, tall, wide, 1)
    groups = channels // inputs
    taps = read.permute(0, 1, 6, 2, 3, 4, 5).reshape(count, groups, inputs * rows * columns, tall * wide)
    found = weight.view(groups, outputs // groups, -1) @ taps
    found = found.reshape(count, outputs, tall, wide)
    return found if bias is None else found + bias[:, None, None]


class DeformConv2d(nn.Module):
    """`deform_conv2d` with weights of its own.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernel.
        stride: Of the convolution.
        padding: Alike.
        dilation: Alike.
        groups: Alike.
        bias: Whether there is one.

    Raises:
        ArgumentError: groups don't divide the channels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"DeformConv2d: groups={groups} for {in_channels} and {out_channels} channels", hint="they divide both"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = pair(padding), pair(dilation)
        self.weight = nn.Parameter(tracec.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(tracec.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """First values, as those of `Conv2d`."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            reach = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            nn.init.uniform_(self.bias, -reach, reach)

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """See `deform_conv2d`."""
        return deform_conv2d(input, offset, self.weight, self.bias, self.stride, self.padding, self.dilation, mask)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        )


__all__ = ["DeformConv2d", "deform_conv2d"]
