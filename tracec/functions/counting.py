"""How often values occur: counts of integers, and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.functions.common import cast, check_ndim, check_tensor, fail, filled, integers, reshaped, sliced
from tracec.functions.ranges import linspace
from tracec.functions.scattering import scatter_add
from tracec.functions.searching import searchsorted
from tracec.ir import dtype as dt
from tracec.record.check import check_none
from tracec.record.method import tensor_method
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


class Histogram(NamedTuple):
    """How much falls into each bin.

    Attributes:
        hist: Counts, sums of weights, or densities.
        bin_edges: Where the bins begin and, last, end; a tuple of such vectors where there are several axes.
    """

    hist: Tensor
    bin_edges: Any


@tensor_method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each integer occurs, or the sum of its weights; the largest one is read off the values.

    Args:
        input: A vector of integers from 0 on.
        weights: What each counts, in the input's shape; integers are summed in float64.
        minlength: The result is at least so long.

    Returns:
        A vector: int64, or the weights' floating type.

    Raises:
        DTypeError: the input is not of integers.
        ArgumentError: an element or ``minlength`` is negative.
        ShapeError: the weights have another shape.
    """
    check_ndim("bincount", input, (1,), "a vector")
    if input.dtype.kind not in "iu":
        fail(DTypeError, f"bincount: takes integers, {input.dtype.name} given", "cast it with .long()")
    (minlength,) = integers("bincount", (minlength,), "minlength")
    if minlength < 0:
        fail(ArgumentError, f"bincount: minlength should be >= 0, {minlength} given", "leave it out")
    if weights is not None:
        check_tensor("bincount", weights, "weights")
        if tuple(weights.shape) != tuple(input.shape):
            fail(ShapeError, f"bincount: weights have shape {tuple(weights.shape)}", "one for each element")
        weights = (weights if weights.dtype is dt.float32 else cast(weights, dt.float64)).detach()
    least, most = (int(input.min()), int(input.max())) if input.numel() else (0, -1)
    if least < 0:
        fail(ArgumentError, f"bincount: only supports non-negative ints, found {least}", "count integers from 0 on")
    one = filled(1, input, dtype=dt.int64) if weights is None else weights
    zero = filled(0, one, (max(most + 1, minlength),))
    return scatter_add(zero, 0, cast(input, dt.int64), one) if input.numel() else zero.clone()


def _limits(name: str, low: Any, high: Any) -> tuple[float, float]:
    found = []
    for value in (low, high):
        try:
            found.append(float(value))
        except (TypeError, ValueError):
            fail(ArgumentTypeError, f"{name}: limits are numbers, {type(value).__name__} given", "give min and max")
    return found[0], found[1]


def _check_range(name: str, low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        fail(ArgumentError, f"{name}: range of [{low}, {high}] is not finite", "give finite limits")
    if low > high:
        fail(ArgumentError, f"{name}: max must be larger than min, [{low}, {high}] given", "exchange them")


def _limits_of(x: Tensor, dtype: dt.DType) -> tuple[Tensor, Tensor, Tensor]:
    """The least and the largest element and their distance, computed; where they are the same, 1 beside it.

    Raises:
        ArgumentError: they are not finite.
    """
    exact = cast(x, dt.float64)
    low, high = exact.amin(), exact.amax()
    finite = ops.lt(ops.maximum(ops.abs(low), ops.abs(high)), math.inf)  # which NaN is not

    def refuse(_: Any) -> NoReturn:
        fail(ArgumentError, "histc: range of the elements is not finite", "give finite limits")

    check_none(ops.logical_not(finite), refuse)
    apart = cast(ops.eq(low, high), dt.float64)
    low, high = ops.sub(low, apart), ops.add(high, apart)
    return cast(low, dtype), cast(high, dtype), cast(ops.sub(high, low), dtype)


@tensor_method
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements fall into each of some bins of one width.

    Args:
        input: Floating, or integers.
        bins: How many.
        min: Where the first begins; with ``max`` the same, the least and largest element are read off the values.
        max: Where the last ends, the end included.

    Returns:
        A vector of the input's dtype.

    Raises:
        DTypeError: the input is of bools, or complex.
        ArgumentError: there is no bin.
    """
    check_tensor("histc", input)
    if input.dtype.kind not in "iuf":
        fail(DTypeError, f"histc: takes numbers, input is {input.dtype.name}", "cast it to a number type")
    (bins,) = integers("histc", (bins,), "bins")
    if bins < 1:
        fail(ArgumentError, f"histc: bins must be > 0, {bins} given", "give at least 1")
    low, high = _limits("histc", min, max)
    _check_range("histc", low, high)
    x = reshaped(input.detach(), (input.numel(),))
    zero = filled(0, x, (bins,))
    if not x.numel():
        return zero.clone()
    wide = cast(x, dt.float64 if x.dtype in (dt.float64, dt.int64) else dt.float32)
    least, most, width = (low, high, high - low) if low != high else _limits_of(x, wide.dtype)
    inside = ops.bitwise_and(ops.ge(wide, least), ops.le(wide, most))
    at = ops.mul(ops.div(ops.sub(ops.where(inside, wide, least), least), width), float(bins))
    place = ops.minimum(cast(at, dt.int64), bins - 1)
    return scatter_add(zero, 0, place, cast(inside, x.dtype))


@tensor_method
def histogram(
    input: Tensor,
    bins: int | Tensor = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Histogram:
    """How many elements fall into each bin, or the sum of their weights.

    Args:
        input: Floating.
        bins: How many, of one width; or a vector of edges in rising order.
        range: Where the first begins and the last ends; by default at the least and the largest element, which are
            read off the values.
        weight: What each element counts, in the input's shape.
        density: Divide such that the integral over all bins is 1.

    Raises:
        DTypeError: the input is neither float32 nor float64.
    """
    check_tensor("histogram", input)
    if input.dtype not in (dt.float32, dt.float64):
        fail(DTypeError, f"histogram: takes float32 and float64, input is {input.dtype.name}", "cast it with .float()")
    x = reshaped(input.detach(), (input.numel(), 1))
    limits = None if range is None else tuple(range)
    found = _histogram("histogram", x, (bins,), limits, _weights("histogram", input, weight), density)
    return Histogram(found.hist, found.bin_edges[0])


def histogramdd(
    input: Tensor,
    bins: int | Sequence[Any],
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> Histogram:
    """How many points fall into each cell of a grid, or the sum of their weights.

    Args:
        input: Points, floating, shape ``(..., n)`` for n axes of the grid.
        bins: How many along each axis; one number for all, one for each, or a vector of edges for each.
        range: Begin and end of each axis, one after the other.
        weight: What each point counts, shape ``(...)``.
        density: Divide such that the integral over the grid is 1.

    Raises:
        DTypeError: the input is neither float32 nor float64.
        ShapeError: the input has fewer than two axes.
        ArgumentError: there are not bins for each axis of the grid.
    """
    check_tensor("histogramdd", input)
    if input.dtype not in (dt.float32, dt.float64):
        fail(
            DTypeError, f"histogramdd: takes float32 and float64, input is {input.dtype.name}", "cast it with .float()"
        )
    if input.ndim < 2:
        fail(
            ShapeError, f"histogramdd: input has shape {tuple(input.shape)}", "it is (..., n), the points' coordinates"
        )
    n = input.shape[-1]
    given = (bins,) * n if hasattr(bins, "__index__") else tuple(bins)
    if len(given) != n:
        fail(ArgumentError, f"histogramdd: {len(given)} bins for {n} axes", "give bins for each axis")
    points = reshaped(input.detach(), (math.prod(input.shape[:-1]), n))
    limits = None if range is None else tuple(range)
    return _histogram("histogramdd", points, given, limits, _weights("histogramdd", points[:, 0], weight), density)


def _weights(name: str, x: Tensor, weight: Tensor | None) -> Tensor | None:
    if weight is None:
        return None
    check_tensor(name, weight, "weight")
    if weight.numel() != x.numel():
        fail(ShapeError, f"{name}: weight has shape {tuple(weight.shape)}", "one for each element")
    if weight.dtype is not x.dtype:
        fail(
            DTypeError, f"{name}: weight is {weight.dtype.name}, input {x.dtype.name}", "cast one to the other's dtype"
        )
    return reshaped(weight.detach(), (weight.numel(),))


def _histogram(
    name: str, x: Tensor, bins: Sequence[Any], limits: tuple[float, ...] | None, weight: Tensor | None, density: bool
) -> Histogram:
    """The histogram of points, shape ``(points, axes)``."""
    if limits is not None and len(limits) != 2 * len(bins):
        fail(ArgumentError, f"{name}: range has {len(limits)} numbers for {len(bins)} axes", "give two for each axis")
    ranges = [None if limits is None else limits[2 * k : 2 * k + 2] for k in range(len(bins))]
    edges = [_edges(name, x[:, k], b, r) for k, (b, r) in enumerate(zip(bins, ranges, strict=True))]
    counts = tuple(e.shape[0] - 1 for e in edges)
    inside, place = filled(True, x, (x.shape[0],), dt.bool_), filled(0, x, (x.shape[0],), dt.int64)
    for k, (e, count) in enumerate(zip(edges, counts, strict=True)):
        column = x[:, k].contiguous()
        inside = ops.bitwise_and(inside, ops.bitwise_and(ops.ge(column, e[0]), ops.le(column, e[-1])))
        # The last edge belongs to the last bin.
        at = ops.minimum(ops.maximum(ops.sub(searchsorted(e, column, right=True), 1), 0), count - 1)
        place = ops.add(ops.mul(place, count), at)
    one = filled(1.0, x, (x.shape[0],)) if weight is None else weight
    zero = filled(0.0, x, (math.prod(counts),))
    if x.shape[0]:
        zero = scatter_add(zero, 0, place, ops.where(inside, one, 0.0))
    hist = reshaped(zero, counts)
    if density:
        hist = ops.div(hist, ops.sum(hist, axes=tuple(range(hist.ndim))))
        for k, (e, count) in enumerate(zip(edges, counts, strict=True)):
            widths = ops.sub(sliced(e, 0, 1, count + 1), sliced(e, 0, 0, count))
            hist = ops.div(hist, reshaped(widths, (count,) + (1,) * (len(counts) - 1 - k)))
    return Histogram(hist.clone(), tuple(edges))


def _edges(name: str, column: Tensor, bins: Any, limits: tuple[float, ...] | None) -> Tensor:
    """The edges of the bins along one axis."""
    if isinstance(bins, Tensor) and bins.ndim:
        if bins.ndim != 1 or bins.dtype is not column.dtype or not bins.numel():
            fail(
                ArgumentError,
                f"{name}: bin edges of shape {tuple(bins.shape)} and dtype {bins.dtype.name} for {column.dtype.name}",
                "they are a vector of the input's dtype",
            )
        return bins.detach()
    (count,) = integers(name, (bins,), "bins")
    if count < 1:
        fail(ArgumentError, f"{name}: bins must be > 0, {count} given", "give at least 1")
    if limits is not None:
        low, high = _limits(name, *limits)
    elif column.numel():
        low, high = float(column.min()), float(column.max())
    else:
        low, high = 0.0, 1.0
    if low == high:
        low, high = low - 0.5, high + 0.5
    _check_range(name, low, high)
    with no_grad():
        return linspace(low, high, count + 1, dtype=column.dtype, device=column.device)
