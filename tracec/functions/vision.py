"""Elements of images given other places: channels made pixels and back, channels shuffled, patches taken and put."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import check_ndim, check_tensor, fail, integers, reshaped
from tracec.functions.shape import between
from tracec.ir.types import Shape
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """Channels made pixels: ``(*, C r², H, W)`` to ``(*, C, H r, W r)``, r being the factor.

    Raises:
        ShapeError: the channels do not divide by r².
        ArgumentError: the factor is not positive.

    Source: Shi et al., "Real-Time Single Image and Video Super-Resolution", 2016, eq. 4.
    """
    r = _factor("pixel_shuffle", input, upscale_factor)
    *lead, channels, height, width = tuple(input.shape)
    if channels % (r * r):
        fail(
            ShapeError,
            f"pixel_shuffle: {channels} channels of input {tuple(input.shape)} do not divide by {r}²",
            "the input is (*, C r², H, W)",
        )
    n = len(lead)
    apart = reshaped(input, (*lead, channels // (r * r), r, r, height, width))
    moved = ops.transpose(apart, perm=(*range(n + 1), n + 3, n + 1, n + 4, n + 2))
    return reshaped(moved, (*lead, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """Pixels made channels: ``(*, C, H r, W r)`` to ``(*, C r², H, W)``, the reverse of `pixel_shuffle`.

    Raises:
        ShapeError: a size does not divide by r.
        ArgumentError: the factor is not positive.
    """
    r = _factor("pixel_unshuffle", input, downscale_factor)
    *lead, channels, height, width = tuple(input.shape)
    if height % r or width % r:
        fail(
            ShapeError,
            f"pixel_unshuffle: sizes ({height}, {width}) of input {tuple(input.shape)} do not divide by {r}",
            "the input is (*, C, H r, W r)",
        )
    n = len(lead)
    apart = reshaped(input, (*lead, channels, height // r, r, width // r, r))
    moved = ops.transpose(apart, perm=(*range(n + 1), n + 2, n + 4, n + 1, n + 3))
    return reshaped(moved, (*lead, channels * r * r, height // r, width // r))


def _factor(name: str, x: Tensor, factor: int) -> int:
    check_tensor(name, x)
    (r,) = integers(name, (factor,), "factor")
    if x.ndim < 3:
        fail(ShapeError, f"{name}: input of shape {tuple(x.shape)} has no channels", "it is (*, C, H, W)")
    if r < 1:
        fail(ArgumentError, f"{name}: factor {r} is not positive", "give 1 or more")
    return r


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels of ``(N, C, ...)`` dealt out: the first of each group, then the second of each, and so on.

    Raises:
        ShapeError: there is no spatial axis, or the channels do not divide into groups.
        ArgumentError: groups is not positive.

    Source: Zhang, Zhou, Lin, Sun, "ShuffleNet", 2017.
    """
    check_tensor("channel_shuffle", input)
    (g,) = integers("channel_shuffle", (groups,), "groups")
    shape = tuple(input.shape)
    if input.ndim < 3:
        fail(ShapeError, f"channel_shuffle: input of shape {shape}", "it is (N, C, ...) with a spatial axis")
    if g < 1:
        fail(ArgumentError, f"channel_shuffle: groups={g} is not positive", "give 1 or more")
    if shape[1] % g:
        fail(ShapeError, f"channel_shuffle: {shape[1]} channels do not divide into {g} groups", "change one")
    apart = reshaped(input, (shape[0], g, shape[1] // g, math.prod(shape[2:])))
    return reshaped(ops.transpose(apart, perm=(0, 2, 1, 3)), shape)


def unfold(input: Tensor, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1) -> Tensor:
    """Patches as columns: ``(N, C, H, W)`` to ``(N, C KH KW, patches)``, or ``(C, H, W)`` without N.

    Args:
        input: Floating.
        kernel_size: Sizes (KH, KW) of a patch.
        dilation: Steps between the elements of a patch.
        padding: Zeros on both sides.
        stride: Steps between patches.

    Raises:
        ShapeError: not even one patch fits.
    """
    check_ndim("unfold", input, (3, 4), "(N, C, H, W) or (C, H, W)")
    if input.dtype.kind in "iu":
        fail(DTypeError, f"unfold: takes floats, input is {input.dtype.name}", "cast it with .float() first")
    patch = _Patches("unfold", kernel_size, dilation, padding, stride, tuple(input.shape[-2:]))
    x = input if input.ndim == 4 else reshaped(input, (1, *input.shape))
    n, channels = tuple(x.shape[:2])
    if any(patch.padding):
        around = (0, 0, *patch.padding)
        x = ops.pad(x, low=around, high=around, value=False if x.dtype.kind == "b" else 0)
    windows = ops.windows(x, size=patch.kernel, stride=patch.stride, dilation=patch.dilation)
    columns = ops.transpose(windows, perm=(0, 1, 4, 5, 2, 3))
    result = reshaped(columns, (n, channels * math.prod(patch.kernel), math.prod(patch.counts)))
    return result if input.ndim == 4 else reshaped(result, tuple(result.shape[1:]))


def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """Patches added up where `unfold` took them from: ``(N, C KH KW, patches)`` to ``(N, C, H, W)``.

    Args:
        input: Floating; N may be left out.
        output_size: Sizes (H, W) of the result.
        kernel_size: Sizes (KH, KW) of a patch.
        dilation: Steps between the elements of a patch.
        padding: What was put on both sides before the patches were taken; it is cut off.
        stride: Steps between patches.

    Raises:
        ShapeError: the rows do not divide by the size of a patch, or the columns are not as many as the patches.
    """
    check_ndim("fold", input, (2, 3), "(N, C KH KW, patches) or (C KH KW, patches)")
    if not input.dtype.is_floating_point and input.dtype.kind != "c":
        fail(DTypeError, f"fold: takes floats, input is {input.dtype.name}", "cast it with .float() first")
    sizes = _pair("fold", output_size, "output_size")
    patch = _Patches("fold", kernel_size, dilation, padding, stride, sizes)
    rows, columns = tuple(input.shape[-2:])
    each = math.prod(patch.kernel)
    if rows % each or columns != math.prod(patch.counts):
        fail(
            ShapeError,
            f"fold: input of shape {tuple(input.shape)} for output_size {sizes}, which has {math.prod(patch.counts)} "
            f"patches of size {patch.kernel}",
            "it is (N, C KH KW, patches)",
        )
    n = input.shape[0] if input.ndim == 3 else 1
    apart = reshaped(input, (n, rows // each, *patch.kernel, *patch.counts))
    windows = ops.transpose(apart, perm=(0, 1, 4, 5, 2, 3))
    wide = tuple(s + 2 * p for s, p in zip(sizes, patch.padding, strict=True))
    result = ops.fold(windows, shape=wide, stride=patch.stride, dilation=patch.dilation)
    for axis, (size, p) in enumerate(zip(sizes, patch.padding, strict=True)):
        result = between(result, axis + 2, p, p + size) if p else result
    return result if input.ndim == 3 else reshaped(result, tuple(result.shape[1:]))


class _Patches:
    """Parameters of patches, checked, and how many there are along each axis."""

    def __init__(
        self, name: str, kernel_size: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes, sizes: Shape
    ) -> None:
        self.kernel, self.dilation = _pair(name, kernel_size, "kernel_size"), _pair(name, dilation, "dilation")
        self.padding, self.stride = _pair(name, padding, "padding"), _pair(name, stride, "stride")
        given = {"kernel_size": self.kernel, "dilation": self.dilation, "stride": self.stride}
        for what, values in given.items():
            if min(values) < 1:
                fail(ArgumentError, f"{name}: {what}={values} is not positive", "give 1 or more for each axis")
        if min(self.padding) < 0:
            fail(ArgumentError, f"{name}: padding={self.padding} is negative", "give 0 or more")
        axes = zip(sizes, self.kernel, self.dilation, self.padding, self.stride, strict=True)
        self.counts = tuple((s + 2 * p - d * (k - 1) - 1) // step + 1 for s, k, d, p, step in axes)
        if min(self.counts) < 1:
            fail(
                ShapeError,
                f"{name}: patches of size {self.kernel} do not fit in sizes {sizes}",
                "use smaller patches, or padding",
            )


def _pair(name: str, value: Sizes, what: str) -> Shape:
    given = (int(value),) * 2 if isinstance(value, int) else integers(name, value, what)
    if len(given) != 2:
        fail(ArgumentError, f"{name}: {what}={value} does not fit 2 spatial axes", "give one integer or 2")
    return given
