"""Quantiles: elements at a share of the way from the smallest to the largest."""

from __future__ import annotations

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_choice,
    check_floating,
    check_real,
    check_tensor,
    expanded,
    fail,
    filled,
    iota,
    one_axis,
    reshaped,
)
from tracec.functions.indexing import gather
from tracec.functions.reduction import all, any
from tracec.functions.shape import movedim
from tracec.functions.sorting import sort
from tracec.ir import dtype as dt
from tracec.ir.extent import is_varying
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


@tensor_method
def quantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """Elements at a share q of the way from the smallest to the largest; NaN where one is NaN.

    Args:
        input: float32 or float64.
        q: A number from 0 to 1, or a vector of them, of the input's dtype.
        dim: The axis; all elements by default.
        keepdim: Keep the axis, with size 1.
        interpolation: Between two elements: ``linear``, ``lower``, ``higher``, ``midpoint`` or ``nearest``.

    Returns:
        A tensor without the axis; for a vector q, with a leading axis of its size.

    Raises:
        DTypeError: the input is of another dtype, or q of another one than the input.
        ArgumentError: there are no elements, a share is out of range, or ``interpolation`` is something else.
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation)


@tensor_method
def nanquantile(
    input: Tensor, q: float | Tensor, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """`quantile` of the elements that are not NaN, whose arguments it takes; NaN where there are none."""
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation)


def _quantile(name: str, x: Tensor, q: float | Tensor, dim: int | None, keepdim: bool, interpolation: str) -> Tensor:
    shares = _shares(name, x, q)
    check_choice(name, "interpolation", interpolation, _INTERPOLATIONS)
    axis = None if dim is None else one_axis(name, dim, x.ndim)
    lines = reshaped(x, (x.numel(),)) if axis is None or not x.ndim else movedim(x, axis, -1)
    size = lines.shape[-1]
    if not x.numel() or not size:
        fail(ArgumentError, f"{name}: input tensor must be non-empty, shape is {tuple(x.shape)}", "there is no element")
    if name == "quantile" and not isinstance(q, Tensor) and not is_varying(size):
        return _shaped(_one(lines, float(q), interpolation), x, axis, keepdim, False)
    # Shares along an axis behind the lines' own.
    holes = ops.isnan(lines.detach())
    if name == "quantile":
        last = filled(float(size - 1), x, ())
    else:
        held = ops.sum(cast(ops.logical_not(holes), dt.int64), axes=(lines.ndim - 1,), keepdims=True)
        last = ops.maximum(cast(ops.sub(held, 1), x.dtype), 0.0)
    rank = ops.mul(shares, last)
    if name == "quantile":
        # Where an element is NaN, it is the last one, and the result.
        rank = ops.where(any(holes, -1, keepdim=True), last, rank)
    found = _between(sort(lines, -1).values, rank, interpolation)
    return _shaped(found, x, axis, keepdim, isinstance(q, Tensor) and q.ndim == 1)


def _one(lines: Tensor, share: float, interpolation: str) -> Tensor:
    """What stands at one share of each line, which has an axis of size 1 for it: nothing else is put in order."""
    size, axis, number = lines.shape[-1], lines.ndim - 1, lines.dtype.numpy.type
    rank = min(number(share) * number(size - 1), number(size - 1))
    if interpolation == "nearest":
        rank = np.round(rank)
    elif interpolation in ("lower", "higher"):
        rank = np.floor(rank) if interpolation == "lower" else np.ceil(rank)
    # Where an element is NaN, the last one is the result.
    place = iota(tuple(lines.shape), axis, dt.int64, lines)
    hole = ops.max(ops.where(ops.isnan(lines.detach()), place, -1), axes=(axis,), keepdims=True)

    def element(rank: float) -> Tensor:
        at = ops.ranked(lines, axis=axis, start=min(int(rank), size - 1), count=1)
        return gather(lines, -1, ops.where(ops.ge(hole, 0), hole, at))

    low = element(np.floor(rank))
    if rank == np.floor(rank):
        return low
    weight = rank - np.floor(rank) if interpolation == "linear" else 0.5
    return _on_the_way(low, element(np.ceil(rank)), filled(float(weight), lines, (1,)))


def _shares(name: str, x: Tensor, q: float | Tensor) -> Tensor:
    """The shares as a vector of the input's dtype."""
    check_floating(name, x)
    if x.dtype not in (dt.float32, dt.float64):
        fail(DTypeError, f"{name}: input tensor must be either float or double dtype, it is {x.dtype.name}", "cast it")
    if not isinstance(q, Tensor):
        check_real(name, q, "q")
        if not 0 <= q <= 1:
            fail(ArgumentError, f"{name}: q values must be in the range [0, 1], {q} given", "q is a share of 1")
        return filled(float(q), x, (1,))
    check_tensor(name, q, "q")
    if q.ndim > 1:
        fail(ShapeError, f"{name}: q must be a scalar or 1D tensor, its shape is {tuple(q.shape)}", "give a vector")
    if q.dtype is not x.dtype:
        given = f"it is {q.dtype.name}, the input {x.dtype.name}"
        fail(DTypeError, f"{name}: q tensor must be same dtype as the input tensor: {given}", "cast one of them")
    if not bool(all(ops.bitwise_and(ops.ge(q, 0), ops.le(q, 1)))):
        fail(ArgumentError, f"{name}: q values must be in the range [0, 1]", "q is a share of 1")
    return reshaped(q, (q.numel(),))


def _between(ordered: Tensor, rank: Tensor, interpolation: str) -> Tensor:
    """What stands at ranks that may lie between two elements of each line."""
    shape = (*ordered.shape[:-1], rank.shape[-1])
    if interpolation in ("lower", "higher", "nearest"):
        rank = {"lower": ops.floor, "higher": ops.ceil, "nearest": ops.round}[interpolation](rank)
    below = ops.floor(rank)
    low = gather(ordered, -1, expanded(cast(below, dt.int64), shape))
    if interpolation in ("lower", "higher", "nearest"):
        return low
    high = gather(ordered, -1, expanded(cast(ops.ceil(rank), dt.int64), shape))
    weight = ops.sub(rank, below) if interpolation == "linear" else ops.mul(ops.ne(rank, below), 0.5)
    return _on_the_way(low, high, cast(weight, ordered.dtype))


def _on_the_way(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """What is between two elements; twice the same infinity has no difference."""
    way = ops.where(ops.eq(low, high), 0.0, ops.sub(high, low))
    return ops.add(low, ops.mul(way, weight))


def _shaped(found: Tensor, x: Tensor, axis: int | None, keepdim: bool, many: bool) -> Tensor:
    """The axis of shares in front or gone, and the reduced one kept where that is asked for."""
    if axis is None or not x.ndim:
        kept = (1,) * x.ndim if keepdim else ()
    else:
        kept = tuple(1 if a == axis else s for a, s in enumerate(x.shape) if keepdim or a != axis)
    found = movedim(found, -1, 0)
    return reshaped(found, (found.shape[0], *kept) if many else kept)
