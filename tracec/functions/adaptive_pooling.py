"""Pooling over windows of about one size, as many as the result has elements, and over windows drawn at random."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import (
    cast,
    check_floating,
    check_ndim,
    check_room,
    check_tensor,
    fail,
    integers,
    iota,
    per_axis,
    reshaped,
    table,
)
from tracec.functions.extremes import pick_along
from tracec.functions.pooling import _avg_pool, _max_pool
from tracec.functions.random import rand
from tracec.ir import dtype as dt
from tracec.ir.extent import plain
from tracec.ir.types import Shape
from tracec.record.tensor import Tensor


def _wanted(name: str, n: int, x: Tensor, output_size: Any) -> Shape:
    """The checked output sizes; None keeps a size."""
    check_floating(name, x)
    check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
    several = isinstance(output_size, Iterable) and not isinstance(output_size, Tensor)
    given = tuple(output_size) if several else (output_size,) * n
    if len(given) != n:
        fail(ArgumentError, f"{name}: output_size={output_size} does not fit {n} spatial axes", f"give one size or {n}")
    sizes = tuple(x.shape[-n:])
    wanted = integers(name, (s if o is None else o for o, s in zip(given, sizes, strict=True)), "output_size")
    if min(wanted) < 0:
        fail(ArgumentError, f"{name}: output_size={wanted} has a negative size", "sizes are 0 or more")
    counts = [plain(n) for n in wanted]
    check_room(name, math.prod((*map(plain, x.shape[:-n]), *counts)) * x.dtype.itemsize + 64 * max(counts))
    if 0 in tuple(x.shape[-n - 1 :]):
        fail(ShapeError, f"{name}: input of shape {tuple(x.shape)} has no elements to pool", "only N may be 0")
    return wanted


def _bins(size: int, count: int) -> tuple[Any, Any]:
    """Where the bins floor(i L / O) to ceil((i + 1) L / O) of an axis begin and end."""
    i = np.arange(count)
    return i * size // max(count, 1), -(-(i + 1) * size // max(count, 1))


def adaptive_avg_pool1d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of so many windows, of about one size, over one axis."""
    return _adaptive_avg("adaptive_avg_pool1d", 1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of so many windows, of about one size, over two axes; None keeps an axis."""
    return _adaptive_avg("adaptive_avg_pool2d", 2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: Any) -> Tensor:
    """The mean of so many windows, of about one size, over three axes; None keeps an axis."""
    return _adaptive_avg("adaptive_avg_pool3d", 3, input, output_size)


def _adaptive_avg(name: str, n: int, x: Tensor, output_size: Any) -> Tensor:
    wanted = _wanted(name, n, x, output_size)
    sizes = tuple(x.shape[-n:])
    if all(o and s % o == 0 for o, s in zip(wanted, sizes, strict=True)):
        kernel = tuple(s // o for o, s in zip(wanted, sizes, strict=True))
        if kernel == sizes:
            axes = tuple(range(x.ndim - n, x.ndim))
            return ops.div(ops.sum(x, axes=axes, keepdims=True), math.prod(sizes))
        return _avg_pool(name, n, x, kernel)
    for axis, size in zip(range(x.ndim - n, x.ndim), wanted, strict=True):
        if size != x.shape[axis]:
            x = _average_bins(x, axis, size)
    return x


def _average_bins(x: Tensor, axis: int, count: int) -> Tensor:
    """The means of the bins of an axis."""
    start, stop = (bound[:, None] for bound in _bins(x.shape[axis], count))
    at = start + np.arange(int((stop - start).max()) if count else 1)
    return weighted_sums(x, axis, at, np.broadcast_to(1 / (stop - start), at.shape), stop)


def weighted_sums(x: Tensor, axis: int, at: Any, weights: Any, stop: Any) -> Tensor:
    """Weighted sums of elements of an axis at known positions.

    Args:
        x: The tensor.
        axis: The axis; ``count`` is its size in the result.
        at: Positions, an array (count, terms).
        weights: Their weights, an array of that shape.
        stop: The positions (count, 1) from which on none is read: infinity times 0 would be NaN.
    """
    one_each = (1,) * (x.ndim - axis - 1)
    terms = elements_along(x, axis, np.minimum(at, stop - 1))
    if not (at < stop).all():
        terms = ops.where(reshaped(table(at < stop, dt.bool_, x), (*at.shape, *one_each)), terms, 0.0)
    shares = reshaped(table(weights, x.dtype, x), (*at.shape, *one_each))
    return ops.sum(ops.mul(terms, shares), axes=(axis + 1,), keepdims=False)


def elements_along(x: Tensor, axis: int, at: Any) -> Tensor:
    """Elements of an axis at positions in an array, whose axes take its place."""
    shape = tuple(x.shape)
    lead, size, rest = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    result = (*shape[:axis], *at.shape, *shape[axis + 1 :])
    # With its line named too, each element of the result reads and writes in the order of memory.
    places = (iota((lead, 1), 0, dt.int64, x), table(at.reshape(1, -1), dt.int64, x))
    return reshaped(ops.index(reshaped(x, (lead, size, rest)), *places, axes=(0, 1)), result)


def adaptive_max_pool1d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of so many windows, of about one size, over one axis."""
    return _adaptive_max("adaptive_max_pool1d", 1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of so many windows, of about one size, over two axes; None keeps an axis.

    Args:
        input: Shape ``(N, C, H, W)`` or ``(C, H, W)``, floating.
        output_size: How many windows along each axis, or one number for both.
        return_indices: Also give where the elements stand, in row-major order of (H, W).
    """
    return _adaptive_max("adaptive_max_pool2d", 2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: Any, return_indices: bool = False) -> Any:
    """The largest element of so many windows, of about one size, over three axes; None keeps an axis."""
    return _adaptive_max("adaptive_max_pool3d", 3, input, output_size, return_indices)


def _adaptive_max(name: str, n: int, x: Tensor, output_size: Any, return_indices: bool) -> Any:
    wanted = _wanted(name, n, x, output_size)
    sizes = tuple(x.shape[-n:])
    if all(o and s % o == 0 for o, s in zip(wanted, sizes, strict=True)):
        kernel = tuple(s // o for o, s in zip(wanted, sizes, strict=True))
        return _max_pool(name, n, x, kernel, None, 0, 1, False, return_indices)
    places = []
    for size, count in zip(sizes, wanted, strict=True):
        start, stop = _bins(size, count)
        width = int((stop - start).max()) if count else 1
        # The last element of a short bin again: the first of equal elements is the largest one.
        places.append(table(np.minimum(start[:, None] + np.arange(width), stop[:, None] - 1), dt.int64, x))
    lead = tuple(x.shape[:-n])
    return _max_of(x, n, lead, places, return_indices)


def _along(i: int, n: int, size: int) -> Shape:
    return tuple(size if a == i else 1 for a in range(n))


def _max_of(x: Tensor, n: int, lead: Shape, places: list[Tensor], return_indices: bool) -> Any:
    """The largest elements of windows whose positions along each axis, (counts, width), are given."""
    counts, widths = (tuple(p.shape[k] for p in places) for k in (0, 1))
    at = [reshaped(p, tuple(s for a in range(2) for s in _along(i, n, p.shape[a]))) for i, p in enumerate(places)]
    windows = ops.index(x, *at, axes=tuple(range(len(lead), len(lead) + n)))
    perm = (*range(2 * n, 2 * n + len(lead)), *range(2 * n))
    flat = reshaped(ops.transpose(windows, perm=perm), (*lead, *counts, math.prod(widths)))
    starts = [reshaped(p[:, :1], _along(i, n, p.shape[0])) for i, p in enumerate(places)]
    ends = [reshaped(p[:, p.shape[1] - 1 :], _along(i, n, p.shape[0])) for i, p in enumerate(places)]
    return _picked(flat, widths, starts, tuple(x.shape[-n:]), return_indices, ends)


def _picked(
    flat: Tensor,
    widths: Shape,
    starts: list[Tensor],
    sizes: Shape,
    return_indices: bool,
    ends: list[Tensor] | None = None,
) -> Any:
    """The largest element of each window (..., elements), and where it stands among the spatial axes.

    Args:
        flat: The windows.
        widths: Their sizes, along each axis.
        starts: Where they begin along each axis.
        sizes: The spatial axes.
        return_indices: Whether it is asked where they stand.
        ends: The last element of each, which those that are shorter repeat.
    """
    axis = flat.ndim - 1
    shape = tuple(flat.shape[:-1])
    if not flat.numel():
        values = reshaped(flat[..., :1] if flat.shape[-1] else flat, shape)
        return (values, cast(values.detach(), dt.int64)) if return_indices else values
    at = ops.argmax(flat.detach(), axis=axis, keepdims=True)
    # Of several NaNs, `argmax` gives the first one, and PyTorch's pooling the last.
    place = iota(tuple(flat.shape), axis, dt.int64, flat)
    last = ops.max(ops.where(ops.isnan(flat.detach()), place, -1), axes=(axis,), keepdims=True)
    at = ops.maximum(at, last)
    values = ops.sum(pick_along(flat, at, axis), axes=(axis,), keepdims=False)
    if not return_indices:
        return values
    rest, found = reshaped(at, shape), None
    for i in reversed(range(len(widths))):
        position = ops.add(starts[i], ops.remainder(rest, widths[i]))
        if ends is not None:
            position = ops.minimum(position, ends[i])
        rest = ops.floor_div(rest, widths[i])
        term = ops.mul(position, math.prod(sizes[i + 1 :]))
        found = term if found is None else ops.add(found, term)
    return values, found


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of windows that lie at random, one behind the other, over two axes.

    Args:
        input: Shape ``(N, C, H, W)`` or ``(C, H, W)``, floating.
        kernel_size: Sizes of the window.
        output_size: How many windows along each axis; this or ``output_ratio``.
        output_ratio: How many for each element of the input, between 0 and 1.
        return_indices: Also give where the elements stand, in row-major order of (H, W).
        _random_samples: Numbers from 0 to 1 that the windows lie by, shape ``(N, C, 2)``; drawn by default.

    Raises:
        ArgumentError: neither or both of output_size and output_ratio are given, or windows do not fit.

    Source: Graham, "Fractional Max-Pooling", 2014.
    """
    # The random numbers name the last axis first.
    return _fractional(
        "fractional_max_pool2d", 2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples,
        (1, 0),
    )  # fmt: skip


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Any,
    output_size: Any = None,
    output_ratio: Any = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """The largest element of windows that lie at random over three axes; as `fractional_max_pool2d`."""
    return _fractional(
        "fractional_max_pool3d", 3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples,
        (0, 1, 2),
    )  # fmt: skip


def _fractional(
    name: str,
    n: int,
    x: Tensor,
    kernel_size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    samples: Tensor | None,
    order: Shape,
) -> Any:
    check_floating(name, x)
    check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
    kernel = per_axis(name, kernel_size, n, "kernel_size")
    sizes = tuple(x.shape[-n:])
    wanted = _fractional_sizes(name, n, sizes, output_size, output_ratio)
    if any(o < 1 or k < 1 or o + k - 1 > s for o, k, s in zip(wanted, kernel, sizes, strict=True)):
        fail(
            ShapeError,
            f"{name}: {wanted} windows of size {kernel} do not fit in input of shape {tuple(x.shape)}",
            "output_size + kernel_size - 1 is at most the input's size",
        )
    batched = x if x.ndim == n + 2 else reshaped(x, (1, *x.shape))
    lead = tuple(batched.shape[:2])
    if samples is None:
        samples = rand(*lead, n, dtype=x.dtype, device=x.device)
    check_tensor(name, samples, "_random_samples")
    if tuple(samples.shape[1:]) != (*lead[1:], n) or samples.shape[0] < lead[0]:
        fail(
            ShapeError, f"{name}: _random_samples has shape {tuple(samples.shape)}, not {(*lead, n)}", "n for each map"
        )
    starts = [
        _fractional_starts(samples[: lead[0], :, order[i]], sizes[i], wanted[i], kernel[i], _along(i, n, wanted[i]))
        for i in range(n)
    ]
    places = []
    for i in range(n):
        offset = iota(_along(i, n, kernel[i]), i, dt.int64, x)
        places.append(ops.add(reshaped(starts[i], (*starts[i].shape, *(1,) * n)), offset))
    maps = [iota((*_along(a, 2, lead[a]), *(1,) * (2 * n)), a, dt.int64, x) for a in range(2)]
    windows = ops.index(batched, *maps, *places, axes=tuple(range(n + 2)))
    flat = reshaped(windows, (*lead, *wanted, math.prod(kernel)))
    result = _picked(flat, kernel, starts, sizes, return_indices)
    if x.ndim == n + 2:
        return result
    both = result if return_indices else (result,)
    first = tuple(reshaped(r, tuple(r.shape[1:])) for r in both)
    return first if return_indices else first[0]


def _fractional_sizes(name: str, n: int, sizes: Shape, output_size: Any, output_ratio: Any) -> Shape:
    if (output_size is None) == (output_ratio is None):
        fail(ArgumentError, f"{name}: output_size or output_ratio, one of them, must be given", "give one of them")
    if output_size is not None:
        return per_axis(name, output_size, n, "output_size")
    ratios = (output_ratio,) * n if isinstance(output_ratio, (int, float)) else tuple(output_ratio)
    if len(ratios) != n or not all(0 < r < 1 for r in ratios):
        fail(ArgumentError, f"{name}: output_ratio={output_ratio} is not between 0 and 1", f"give one ratio or {n}")
    return tuple(int(s * r) for s, r in zip(sizes, ratios, strict=True))


def _fractional_starts(u: Tensor, size: int, count: int, kernel: int, shape: Shape) -> Tensor:
    """Where windows begin: trunc((i + u) α) - trunc(u α), α = (size - kernel) / (count - 1); the last at the end."""
    lead = tuple(u.shape)
    drawn = reshaped(u, (*lead, *(1,) * len(shape)))
    axis = next((a for a, s in enumerate(shape) if s > 1), 0)
    i = iota(shape, axis, u.dtype, u)
    alpha = (size - kernel) / (count - 1) if count > 1 else 0.0
    step = np.float64(alpha) if u.dtype is dt.float64 else np.float32(size - kernel) / np.float32(max(count - 1, 1))
    before = ops.trunc(ops.mul(drawn, float(step)))
    start = cast(ops.sub(ops.trunc(ops.mul(ops.add(i, drawn), float(step))), before), dt.int64)
    last = ops.eq(iota(shape, axis, dt.int64, u), count - 1)
    return ops.where(last, size - kernel, start)
