"""Pooling: windows over spatial axes, each reduced to one element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import check_floating, check_ndim, fail, filled, iota, per_axis, reshaped
from tracec.functions.linalg import matmul
from tracec.functions.reduction import pick_along
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.types import Shape
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class _Pool:
    """Windows of a pooling: their parameters, checked, and the padding that makes them fit."""

    def __init__(
        self, name: str, n: int, x: Tensor, kernel: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes
    ) -> None:
        check_floating(name, x)
        check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
        self.n = n
        self.kernel = per_axis(name, kernel, n, "kernel_size")
        self.stride = self.kernel if stride is None or stride == () else per_axis(name, stride, n, "stride")
        self.padding = per_axis(name, padding, n, "padding")
        self.dilation = per_axis(name, dilation, n, "dilation")
        self.sizes: Shape = tuple(x.shape[-n:])
        for what, given in (("kernel_size", self.kernel), ("stride", self.stride), ("dilation", self.dilation)):
            if min(given) < 1:
                fail(ArgumentError, f"{name}: {what}={given} is not positive", "give 1 or more for each spatial axis")
        for p, k in zip(self.padding, self.kernel, strict=True):
            if p < 0 or 2 * p > k:
                fail(
                    ArgumentError,
                    f"{name}: padding {self.padding} does not go with kernel_size {self.kernel}",
                    "padding is at most half of the window",
                )
        for s, p, k, d in zip(self.sizes, self.padding, self.kernel, self.dilation, strict=True):
            if s + 2 * p < d * (k - 1) + 1:
                fail(
                    ShapeError,
                    f"{name}: window {self.kernel} does not fit in input of shape {tuple(x.shape)}",
                    "use a smaller window, or padding",
                )

    def high(self, ceil_mode: bool) -> Shape:
        """Padding after the elements; rounding up adds what the last window, begun inside, lacks."""
        found = []
        for s, p, k, d, step in zip(self.sizes, self.padding, self.kernel, self.dilation, self.stride, strict=True):
            room = s + 2 * p - (d * (k - 1) + 1)
            count = -(-room // step) if ceil_mode else room // step
            if ceil_mode and count * step >= s + p:
                count -= 1
            found.append(max(count * step + d * (k - 1) + 1 - s - p, p if not ceil_mode else 0))
        return tuple(found)

    def windows(self, x: Tensor, value: float, high: Shape) -> Tensor:
        """(..., counts, kernel) of the input, padded by a value."""
        lead = (0,) * (x.ndim - self.n)
        if any(self.padding) or any(high):
            x = ops.pad(x, low=lead + self.padding, high=lead + high, value=value)
        return ops.windows(x, size=self.kernel, stride=self.stride, dilation=self.dilation)

    @property
    def axes(self) -> range:
        """The windows' own axes, counted from the end."""
        return range(-self.n, 0)


def _max_pool(
    name: str,
    n: int,
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    pool = _Pool(name, n, x, kernel_size, stride, padding, dilation)
    windows = pool.windows(x, -math.inf, pool.high(ceil_mode))
    counts = tuple(windows.shape[: -pool.n])
    if not x.requires_grad and not return_indices:
        return ops.max(windows, axes=tuple(range(windows.ndim - n, windows.ndim)), keepdims=False)
    flat = reshaped(windows, (*counts, math.prod(pool.kernel)))
    axis = flat.ndim - 1
    at = ops.argmax(flat.detach(), axis=axis, keepdims=True)
    # The gradient goes to the first of equal elements.
    values = ops.sum(pick_along(flat, at, axis), axes=(axis,), keepdims=False)
    return (values, _positions(pool, reshaped(at, counts))) if return_indices else values


def _positions(pool: _Pool, at: Tensor) -> Tensor:
    """Window offsets as positions in the unpadded spatial axes, in row-major order."""
    shape, first = tuple(at.shape), at.ndim - pool.n
    rest, found = at, ops.mul(at, 0)
    for i in reversed(range(pool.n)):
        offset = ops.remainder(rest, pool.kernel[i])
        rest = ops.floor_div(rest, pool.kernel[i])
        start = ops.sub(ops.mul(iota(shape, first + i, dt.int64, at), pool.stride[i]), pool.padding[i])
        position = ops.add(start, ops.mul(offset, pool.dilation[i]))
        found = ops.add(found, ops.mul(position, math.prod(pool.sizes[i + 1 :])))
    return found


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over one axis; arguments as in `max_pool2d`."""
    return _max_pool("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over two axes.

    Args:
        input: Shape ``(N, C, H, W)`` or ``(C, H, W)``, floating.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: Minus infinity on both sides; at most half of the window.
        dilation: Steps between the elements of a window.
        ceil_mode: Also take windows that begin inside and end outside.
        return_indices: Also give where the elements stand, in row-major order of (H, W).

    Raises:
        ShapeError: not even one window fits.
    """
    return _max_pool("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _avg_pool(
    name: str,
    n: int,
    x: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    pool = _Pool(name, n, x, kernel_size, stride, padding, 1)
    high = pool.high(ceil_mode)
    windows = pool.windows(x, 0.0, high)
    axes = tuple(range(windows.ndim - n, windows.ndim))
    total = ops.sum(windows, axes=axes, keepdims=False)
    if divisor_override is not None:
        return ops.div(total, divisor_override)
    beyond = any(h > p for h, p in zip(high, pool.padding, strict=True))
    if not beyond and (count_include_pad or not any(pool.padding)):
        return ops.div(total, math.prod(pool.kernel))
    # Windows at the edges count fewer elements: those of the input, and of the padding if that counts.
    one = filled(1.0, x, tuple(s + 2 * p * count_include_pad for s, p in zip(pool.sizes, pool.padding, strict=True)))
    if count_include_pad:
        one = ops.pad(one, low=(0,) * n, high=tuple(h - p for h, p in zip(high, pool.padding, strict=True)), value=0)
    else:
        one = ops.pad(one, low=pool.padding, high=high, value=0)
    counted = ops.windows(one, size=pool.kernel, stride=pool.stride, dilation=pool.dilation)
    return ops.div(total, ops.sum(counted, axes=tuple(range(n, 2 * n)), keepdims=False))


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window over one axis; arguments as in `avg_pool2d`."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over two axes.

    Args:
        input: Shape ``(N, C, H, W)`` or ``(C, H, W)``, floating.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: Zeros on both sides; at most half of the window.
        ceil_mode: Also take windows that begin inside and end outside.
        count_include_pad: Divide by the count of elements with the padding's.
        divisor_override: Divide by this number instead.

    Raises:
        ShapeError: not even one window fits.
    """
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The mean of so many windows, of about one size, over one axis."""
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of so many windows, of about one size, over two axes; None keeps an axis."""
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def _adaptive_avg(name: str, n: int, x: Tensor, output_size: Any) -> Tensor:
    check_floating(name, x)
    check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
    given = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    sizes = tuple(x.shape[-n:])
    wanted = tuple(s if o is None else o for o, s in zip(given, sizes, strict=True))
    if all(o and s % o == 0 for o, s in zip(wanted, sizes, strict=True)):
        kernel = tuple(s // o for o, s in zip(wanted, sizes, strict=True))
        if kernel == sizes:
            axes = tuple(range(x.ndim - n, x.ndim))
            return ops.div(ops.sum(x, axes=axes, keepdims=True), math.prod(sizes))
        return _avg_pool(name, n, x, kernel, kernel, 0, False, True, None)
    for axis, size in zip(range(x.ndim - n, x.ndim), wanted, strict=True):
        x = _average_bins(x, axis, size)
    return x


def _average_bins(x: Tensor, axis: int, count: int) -> Tensor:
    """The means of bins floor(i L / O) to ceil((i + 1) L / O), as a product with a matrix of weights."""
    size = x.shape[axis]
    bin_, place = (iota(s, a, dt.int64, x) for a, s in ((0, (count, 1)), (1, (1, size))))
    start = ops.floor_div(ops.mul(bin_, size), count)
    stop = ops.floor_div(ops.add(ops.mul(ops.add(bin_, 1), size), count - 1), count)
    inside = ops.bitwise_and(ops.ge(place, start), ops.lt(place, stop))
    share = ops.div(1.0, ops.cast(ops.sub(stop, start), dtype=x.dtype))
    weights = ops.where(inside, share, 0.0)
    perm = (*(a for a in range(x.ndim) if a != axis), axis)
    moved = matmul(ops.transpose(x, perm=perm), ops.transpose(weights, perm=(1, 0)))
    return ops.transpose(moved, perm=tuple(perm.index(a) for a in range(x.ndim)))


def adaptive_max_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The largest element of so many windows, of about one size, over two axes; None keeps an axis."""
    name = "adaptive_max_pool2d"
    check_floating(name, input)
    given = (output_size,) * 2 if output_size is None or isinstance(output_size, int) else tuple(output_size)
    x = input
    for axis, count in zip((input.ndim - 2, input.ndim - 1), given, strict=True):
        size = x.shape[axis]
        bins = count or size
        bounds = [(i * size // bins, -(-(i + 1) * size // bins)) for i in range(bins)]
        parts = [ops.max(between(x, axis, a, b), axes=(axis,), keepdims=True) for a, b in bounds]
        x = ops.concatenate(*parts, axis=axis) if len(parts) > 1 else parts[0]
    return x
