"""Order: sorting, ranks, medians, and extremes so far."""

from __future__ import annotations

import math

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError
from tracec.functions.common import cast, check_tensor, fail, filled, integers, iota, one_axis, reshaped, sliced
from tracec.functions.extremes import ValuesIndices
from tracec.functions.indexing import gather
from tracec.ir import dtype as dt
from tracec.ops.running import last_place
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def _check_ordered(name: str, x: Tensor) -> None:
    check_tensor(name, x)
    if x.dtype.is_complex:
        fail(DTypeError, f"{name}: {x.dtype.name} has no order", "take the sizes with .abs()")


def _lined(name: str, x: Tensor, dim: int) -> tuple[Tensor, int]:
    """The tensor as at least a vector, and the axis."""
    _check_ordered(name, x)
    axis = one_axis(name, dim, x.ndim)
    return (reshaped(x, (1,)) if not x.ndim else x), axis


@tensor_method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """Positions that sort an axis; ties keep their order, also where that is not asked for.

    Args:
        input: Any real tensor.
        dim: The axis; counted from the end where negative.
        descending: The largest first.
        stable: Has no effect: ties always keep their order.

    Returns:
        int64, of the input's shape.
    """
    x, axis = _lined("argsort", input, dim)
    return reshaped(ops.argsort(x, axis=axis, descending=bool(descending)), tuple(input.shape))


@tensor_method
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = False) -> ValuesIndices:
    """An axis in order, and where its elements stood; NaN counts as the largest, ties keep their order.

    Args:
        input: Any real tensor.
        dim: The axis; counted from the end where negative.
        descending: The largest first.
        stable: Has no effect: ties always keep their order.

    Returns:
        A named tuple of ``values`` and int64 ``indices``.
    """
    order = argsort(input, dim, descending)
    return ValuesIndices(gather(input, dim, order), order)


@tensor_method
def msort(input: Tensor) -> Tensor:
    """The first axis in order."""
    return sort(input, 0).values


@tensor_method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest (or smallest) elements of an axis and where they stood; in order, also where that is not asked.

    Args:
        input: Any real tensor.
        k: How many.
        dim: The axis; counted from the end where negative.
        largest: The largest ones, or else the smallest.
        sorted: Has no effect: they are in order.

    Returns:
        A named tuple of ``values`` and int64 ``indices``, whose axis has size k.

    Raises:
        ArgumentError: k is negative, or larger than the axis.
    """
    x, axis = _lined("topk", input, dim)
    (k,) = integers("topk", (k,), "k")
    size = x.shape[axis]
    if not 0 <= k <= size:
        fail(ArgumentError, f"topk: k={k} does not fit axis {axis} of size {size}", f"use k from 0 to {size}")
    order = ops.ranked(x, axis=axis, start=0, count=k, descending=bool(largest))
    found = ValuesIndices(gather(x, axis, order), order)
    return found if input.ndim or not k else ValuesIndices(*(reshaped(f, ()) for f in found))


@tensor_method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest element of an axis, counted from 1, and where it stood.

    Raises:
        ArgumentError: k is not from 1 to the size of the axis.
    """
    x, axis = _lined("kthvalue", input, dim)
    (k,) = integers("kthvalue", (k,), "k")
    size = x.shape[axis]
    if not 1 <= k <= size:
        hint = f"use k from 1 to {size}" if size else "the axis is empty"
        fail(ArgumentError, f"kthvalue: k={k} does not fit axis {axis} of size {size}", hint)
    return _picked(input, axis, ops.ranked(x, axis=axis, start=k - 1, count=1), keepdim)


def _picked(input: Tensor, axis: int, at: Tensor, keepdim: bool) -> ValuesIndices:
    """One position of each line along an axis, where the index has kept the axis with size 1."""
    x = reshaped(input, (1,)) if not input.ndim else input
    values = gather(x, axis, at)
    kept = tuple(1 if a == axis else n for a, n in enumerate(input.shape))
    shape = kept if keepdim else tuple(n for a, n in enumerate(input.shape) if a != axis)
    return ValuesIndices(reshaped(values, shape), reshaped(at, shape))


@tensor_method
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | ValuesIndices:
    """The middle element, the lower one of two; with an axis, also where it stood. NaN where there is one."""
    return _median("median", input, dim, keepdim)


@tensor_method
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | ValuesIndices:
    """The middle one of the elements that are not NaN; see `median`."""
    return _median("nanmedian", input, dim, keepdim)


def _median(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor | ValuesIndices:
    if dim is None:
        _check_ordered(name, input)
        flat = reshaped(input, (input.numel(),))
        if flat.numel():
            return _middle(name, flat, 0, False).values
        # As in PyTorch: NaN, or the least integer.
        least = math.nan if input.dtype.is_floating_point else -(1 << 8 * input.dtype.itemsize - 1)
        return filled(least, input, ())
    _check_ordered(name, input)
    axis = one_axis(name, dim, input.ndim)
    if input.ndim and not input.shape[axis]:
        fail(AxisError, f"{name}: expected reduction dim {axis} to have non-zero size", "there is no middle element")
    return _middle(name, input, axis, keepdim)


def _middle(name: str, input: Tensor, axis: int, keepdim: bool) -> ValuesIndices:
    x = reshaped(input, (1,)) if not input.ndim else input
    size = x.shape[axis]
    if name == "nanmedian" and x.dtype.is_floating_point:
        # NaNs come last, those of an axis together.
        numbers = ops.sum(cast(ops.logical_not(ops.isnan(x)), dt.int64), axes=(axis,), keepdims=True)
        rank = ops.floor_div(ops.maximum(ops.sub(numbers, 1), 0), 2)
        return _picked(input, axis, gather(ops.argsort(x, axis=axis), axis, rank), keepdim)
    at = ops.ranked(x, axis=axis, start=(size - 1) // 2, count=1)
    if x.dtype.is_floating_point:
        place = iota(tuple(x.shape), axis, dt.int64, x)
        first = ops.min(ops.where(ops.isnan(x.detach()), place, size), axes=(axis,), keepdims=True)
        at = ops.where(ops.lt(first, size), first, at)
    return _picked(input, axis, at, keepdim)


@tensor_method
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The element of an axis that occurs most often, the smallest of several, and where it stood last.

    Raises:
        AxisError: the axis has no elements.
    """
    x, axis = _lined("mode", input, dim)
    size = x.shape[axis]
    if not size:
        fail(AxisError, f"mode: expected reduction dim {axis} to have non-zero size", "there is no such element")
    order = ops.argsort(x, axis=axis)
    lined = gather(x.detach(), axis, order)
    place = iota(tuple(x.shape), axis, dt.int64, x)
    if size > 1:
        same = ops.eq(sliced(lined, axis, 1, size), sliced(lined, axis, 0, size - 1))
        low = [0] * x.ndim
        low[axis] = 1
        same = ops.pad(same, low=tuple(low), high=(0,) * x.ndim, value=False)
        start = ops.cummax(ops.where(same, 0, place), axis=axis)
    else:
        start = place
    longest = ops.argmax(ops.sub(place, start), axis=axis, keepdims=True)
    return _picked(input, axis, gather(order, axis, longest), keepdim)


@tensor_method
def cummax(input: Tensor, dim: int) -> ValuesIndices:
    """The largest element so far along an axis, and where it stood last; NaN once there was one."""
    return _so_far("cummax", input, dim)


@tensor_method
def cummin(input: Tensor, dim: int) -> ValuesIndices:
    """The smallest element so far along an axis, and where it stood last; NaN once there was one."""
    return _so_far("cummin", input, dim)


def _so_far(name: str, input: Tensor, dim: int) -> ValuesIndices:
    x, axis = _lined(name, input, dim)
    if not x.numel():
        return ValuesIndices(input.clone(), filled(0, input, dtype=dt.int64))
    values = (ops.cummax if name == "cummax" else ops.cummin)(x, axis=axis)
    at = last_place(x.detach(), values.detach(), axis)
    shape = tuple(input.shape)
    return ValuesIndices(reshaped(values, shape), reshaped(at, shape))
