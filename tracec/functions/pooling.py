"""Pooling: windows over spatial axes, each reduced to one element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.arithmetic import div
from tracec.functions.axes import over_axes
from tracec.functions.common import (
    cast,
    check_flag,
    check_floating,
    check_ndim,
    check_number,
    check_tensor,
    fail,
    iota,
    one_integer,
    per_axis,
    table,
)
from tracec.functions.pool_arrays import avg_pool_at_once, max_pool_at_once
from tracec.ir import dtype as dt
from tracec.ir.types import Shape
from tracec.ops.pool import max_windows_back
from tracec.record.compositions import composed
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


class Pool:
    """Windows of a pooling: their parameters, checked, and the padding that makes them fit.

    Attributes:
        counts: How many windows there are along each spatial axis.
        high: Padding behind the elements: what the last windows need, and what was asked for.
    """

    def __init__(
        self,
        name: str,
        n: int,
        x: Tensor,
        kernel: Sizes,
        stride: Sizes | None,
        padding: Sizes,
        dilation: Sizes = 1,
        ceil_mode: bool = False,
    ) -> None:
        check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
        check_flag(name, ceil_mode, "ceil_mode")
        self.n = n
        self.kernel = per_axis(name, kernel, n, "kernel_size")
        self.stride = self.kernel if stride is None or stride in ((), []) else per_axis(name, stride, n, "stride")
        self.padding = per_axis(name, padding, n, "padding")
        self.dilation = per_axis(name, dilation, n, "dilation")
        self.sizes: Shape = tuple(x.shape[-n:])
        for what, given in (("kernel_size", self.kernel), ("stride", self.stride), ("dilation", self.dilation)):
            if min(given) < 1:
                fail(ArgumentError, f"{name}: {what}={given} is not positive", "give 1 or more for each spatial axis")
        if any(p < 0 or 2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            fail(
                ArgumentError,
                f"{name}: padding {self.padding} does not go with kernel_size {self.kernel}",
                "padding is at most half of the window",
            )
        spans = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel, strict=True))
        self.counts = self._count(spans, ceil_mode)
        if min(self.counts) < 1 or 0 in self.sizes:
            fail(
                ShapeError,
                f"{name}: window {self.kernel} does not fit in input of shape {tuple(x.shape)}",
                "use a smaller window, or padding",
            )
        ends = ((c - 1) * step + span for c, step, span in zip(self.counts, self.stride, spans, strict=True))
        self.high = tuple(
            max(end - size - p, 0 if ceil_mode else p)
            for end, size, p in zip(ends, self.sizes, self.padding, strict=True)
        )

    def _count(self, spans: Shape, ceil_mode: bool) -> Shape:
        found = []
        for size, p, span, step in zip(self.sizes, self.padding, spans, self.stride, strict=True):
            count = (size + 2 * p - span + (step - 1 if ceil_mode else 0)) // step + 1
            # A window that begins behind the elements and their padding in front has nothing to look at.
            found.append(count - 1 if ceil_mode and (count - 1) * step >= size + p else count)
        return tuple(found)

    def elements(self, count_include_pad: bool) -> Any:
        """How many elements each window counts, as an array of shape ``counts``, or the number if it is one."""
        along = []
        for size, p, k, step, count in zip(
            self.sizes, self.padding, self.kernel, self.stride, self.counts, strict=True
        ):
            start = np.arange(count) * step - p
            stop = np.minimum(start + k, size + p)
            if not count_include_pad:
                start, stop = np.maximum(start, 0), np.minimum(stop, size)
            along.append(stop - start)
        if all((a == a[0]).all() for a in along):
            return math.prod(int(a[0]) for a in along)
        return reduce(np.multiply.outer, along)


def _max_pool(
    name: str, n: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest element of each window over the spatial axes.

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``, numbers; over one axis floats.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: The lowest value on both sides; at most half of the window.
        dilation: Steps between the elements of a window.
        ceil_mode: Also take windows that begin inside and end outside.
        return_indices: Also give where the elements stand, in row-major order of the spatial axes.

    Raises:
        ShapeError: not even one window fits.
    """
    x = input
    check_tensor(name, x)
    if n == 1:
        check_floating(name, x)
    if x.dtype.kind not in "fiu":
        fail(DTypeError, f"{name}: takes numbers that have an order, input is {x.dtype.name}", "cast it first")
    pool = Pool(name, n, x, kernel_size, stride, padding, dilation, ceil_mode)
    params = {
        "size": pool.kernel, "stride": pool.stride, "dilation": pool.dilation, "low": pool.padding, "high": pool.high,
    }  # fmt: skip
    values = _largest(x, **params)
    if not return_indices:
        return values
    return values, _positions(pool, cast(ops.max_windows_at(x.detach(), values.detach(), **params), dt.int64))


@composed("max_windows", max_windows_back, eager=max_pool_at_once)
def _largest(x: Any, **params: Shape) -> Any:
    return ops.max_windows(x, **params)


def _positions(pool: Pool, at: Tensor) -> Tensor:
    """Window offsets as positions in the unpadded spatial axes, in row-major order."""
    shape, first = tuple(at.shape), at.ndim - pool.n
    at = ops.remainder(at, math.prod(pool.kernel))  # a window may have no elements, where dilation skips them all
    rest, found = at, ops.mul(at, 0)
    for i in reversed(range(pool.n)):
        offset = ops.remainder(rest, pool.kernel[i])
        rest = ops.floor_div(rest, pool.kernel[i])
        start = ops.sub(ops.mul(iota(shape, first + i, dt.int64, at), pool.stride[i]), pool.padding[i])
        if pool.padding[i] and pool.dilation[i] > 1:
            short = ops.maximum(ops.neg(start), 0)
            offset = ops.maximum(offset, ops.floor_div(ops.add(short, pool.dilation[i] - 1), pool.dilation[i]))
        position = ops.add(start, ops.mul(offset, pool.dilation[i]))
        found = ops.add(found, ops.mul(position, math.prod(pool.sizes[i + 1 :])))
    return found


def _avg_pool(
    name: str, n: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None,
) -> Tensor:  # fmt: skip
    """The mean of each window over the spatial axes.

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``, floating or int64.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        padding: Zeros on both sides; at most half of the window.
        ceil_mode: Also take windows that begin inside and end outside.
        count_include_pad: Divide by the count of elements with the padding's.
        divisor_override: Divide by this number instead.

    Raises:
        ShapeError: not even one window fits.
    """
    x = input
    check_tensor(name, x)
    if not x.dtype.is_floating_point and x.dtype is not dt.int64:
        fail(DTypeError, f"{name}: takes floats or int64, input is {x.dtype.name}", "cast it with .float() first")
    if divisor_override is not None and not one_integer(name, divisor_override, "divisor_override"):
        fail(ArgumentError, f"{name}: divisor_override is 0", "divide by another number")
    check_flag(name, count_include_pad, "count_include_pad")
    pool = Pool(name, n, x, kernel_size, stride, padding, 1, ceil_mode)
    divisor: Any = pool.elements(count_include_pad) if divisor_override is None else divisor_override
    divisors = [] if isinstance(divisor, int) else [table(divisor, x.dtype, x)]
    if x.dtype.is_floating_point:
        params = {"size": pool.kernel, "stride": pool.stride, "low": pool.padding, "high": pool.high}
        result: Tensor = _mean(x, *divisors, **params, divisor=0 if divisors else divisor)
        return result
    total = _total(x, pool.kernel, pool.stride, pool.padding, pool.high)
    # Integers are divided towards zero.
    return div(total, *(divisors or [divisor]), rounding_mode="trunc")


@composed("avg_windows", eager=avg_pool_at_once)
def _mean(x: Any, *divisors: Any, size: Shape, stride: Shape, low: Shape, high: Shape, divisor: int) -> Any:
    return ops.div(_total(x, size, stride, low, high), *(divisors or [divisor]))


def _total(x: Any, size: Shape, stride: Shape, low: Shape, high: Shape) -> Any:
    """The sums of windows of the input, padded by zeros."""
    lead = (0,) * (x.ndim - len(size))
    if any(low) or any(high):
        x = ops.pad(x, low=lead + low, high=lead + high, value=0)
    windows = ops.windows(x, size=size, stride=stride, dilation=(1,) * len(size))
    return ops.sum(windows, axes=tuple(range(windows.ndim - len(size), windows.ndim)), keepdims=False)


def _lp_pool(
    name: str, n: int, input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """``(sum of x^p)^(1/p)`` of each window over the spatial axes; a negative sum of odd powers gives NaN.

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``, floating.
        norm_type: The power p.
        kernel_size: Sizes of the window.
        stride: Steps between windows; the window's sizes by default.
        ceil_mode: Also take windows that begin inside and end outside; their sum is that of a whole window with
            the same mean.
    """
    check_floating(name, input)
    check_number(name, norm_type, "norm_type")
    if not norm_type:
        fail(ArgumentError, f"{name}: norm_type is 0", "give another power")
    kernel = per_axis(name, kernel_size, n, "kernel_size")
    mean = _avg_pool(name, n, ops.pow(input, float(norm_type)), kernel, stride, ceil_mode=ceil_mode)
    return ops.pow(ops.mul(mean, math.prod(kernel)), 1.0 / norm_type)


max_pool1d, max_pool2d, max_pool3d = over_axes(_max_pool, 1), over_axes(_max_pool, 2), over_axes(_max_pool, 3)
avg_pool2d, avg_pool3d = over_axes(_avg_pool, 2), over_axes(_avg_pool, 3)
lp_pool1d, lp_pool2d, lp_pool3d = over_axes(_lp_pool, 1), over_axes(_lp_pool, 2), over_axes(_lp_pool, 3)


def avg_pool1d(
    input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:  # fmt: skip
    """The mean of each window over one axis; arguments as in `avg_pool2d`."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)
