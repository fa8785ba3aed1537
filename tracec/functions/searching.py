"""Searching: where values stand in order, which of them are there, and what there is but once."""

from __future__ import annotations

from math import prod
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.functions.common import (
    Number,
    cast,
    check_choice,
    check_number,
    check_tensor,
    fail,
    filled,
    iota,
    one_axis,
    reshaped,
    sliced,
)
from tracec.functions.indexing import gather, index_select
from tracec.ir import dtype as dt
from tracec.ir.extent import fixed
from tracec.record.indexing import nonzero_positions
from tracec.record.method import tensor_method
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor, get_default_dtype


def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | Number,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where values would stand in sequences that are sorted along their last axis.

    Args:
        sorted_sequence: A sequence, or one for each place of the values' other axes.
        input: The values; a number where there is one sequence.
        out_int32: Positions as int32 instead of int64.
        right: Behind equal elements, not before them.
        side: The same by name: ``left`` or ``right``.
        sorter: Positions that sort the sequences, where they are not sorted.

    Raises:
        ShapeError: the sequences do not fit the values.
        ArgumentError: ``side`` contradicts ``right``.
    """
    check_tensor("searchsorted", sorted_sequence, "sorted_sequence")
    if side is not None:
        check_choice("searchsorted", "side", side, ("left", "right"))
        if right and side == "left":
            fail(ArgumentError, "searchsorted: side and right can't be set to opposites", "give one of them")
    steps = sorted_sequence
    if not isinstance(input, Tensor):
        values = filled(input, steps, (), _type_of(input, steps))
    else:
        values = input
    lead = tuple(steps.shape[:-1])
    if not steps.ndim or (steps.ndim > 1 and (tuple(values.shape[:-1]) != lead or values.ndim != steps.ndim)):
        fail(
            ShapeError,
            f"searchsorted: sequences of shape {tuple(steps.shape)} for values of shape {tuple(values.shape)}",
            "give one sequence, or as many as the values have lines",
        )
    if sorter is not None:
        check_tensor("searchsorted", sorter, "sorter")
        if sorter.dtype is not dt.int64 or tuple(sorter.shape) != tuple(steps.shape):
            fail(ShapeError, "searchsorted: sorter must be int64 and of the sequences' shape", "take it from argsort")
        steps = gather(steps, -1, sorter)
    return _search(steps, values, right or side == "right", dt.int32 if out_int32 else dt.int64)


def _type_of(number: Number, like: Tensor) -> Any:
    return like.dtype if like.dtype.kind == "f" or isinstance(number, int) else get_default_dtype()


def _search(steps: Tensor, values: Tensor, right: bool, dtype: Any) -> Tensor:
    """By halving: each step looks at the middle of what is left, for all values at once."""
    size = steps.shape[-1]
    low = filled(0, values, dtype=dt.int64)
    if not size or not values.numel():
        return cast(low, dtype)
    common = result_type_of(steps, values)
    steps, values = cast(steps.detach(), common), cast(values.detach(), common)
    high = filled(size, values, dtype=dt.int64)
    for _ in range(size.bit_length()):
        # Once nothing is left, low is high, and stays; the last place is looked at in vain.
        middle = ops.floor_div(ops.add(low, high), 2)
        at = ops.minimum(middle, size - 1)
        seen = gather(steps, -1, at) if steps.ndim > 1 else ops.index(steps, at, axes=(0,))
        # NaN is behind everything.
        behind = ops.logical_not(ops.gt(seen, values) if right else ops.ge(seen, values))
        inside = ops.lt(low, high)
        low, high = (
            ops.where(ops.bitwise_and(inside, behind), ops.add(middle, 1), low),
            ops.where(ops.bitwise_and(inside, ops.logical_not(behind)), middle, high),
        )
    return cast(low, dtype)


def bucketize(input: Tensor | Number, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Between which of some boundaries values lie: how many of them are below.

    Args:
        input: Values.
        boundaries: A vector in rising order.
        out_int32: Numbers as int32 instead of int64.
        right: Count those that are equal, too.

    Raises:
        ShapeError: the boundaries are no vector.
    """
    check_tensor("bucketize", boundaries, "boundaries")
    if boundaries.ndim != 1:
        fail(ShapeError, f"bucketize: boundaries have shape {tuple(boundaries.shape)}", "they are a vector")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


def isin(
    elements: Tensor | Number, test_elements: Tensor | Number, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element is among others.

    Args:
        elements: What is looked for.
        test_elements: What is looked at.
        assume_unique: Has no effect: elements may occur several times in either.
        invert: Whether it is not among them.

    Raises:
        ArgumentTypeError: neither is a tensor.
    """
    if not isinstance(elements, Tensor) and not isinstance(test_elements, Tensor):
        fail(ArgumentTypeError, "isin: takes at least one tensor", "make one with tracec.tensor(...)")
    for what, x in (("elements", elements), ("test_elements", test_elements)):
        if not isinstance(x, Tensor):
            check_number("isin", x, what)
    like: Any = elements if isinstance(elements, Tensor) else test_elements
    dtype = result_type_of(elements, test_elements)
    given, tests = (
        cast(x, dtype) if isinstance(x, Tensor) else filled(x, like, (), dtype) for x in (elements, test_elements)
    )
    count, shape = tests.numel(), tuple(given.shape)
    tests = reshaped(tests, (count,))
    if not count:
        return filled(invert, given, dtype=dt.bool_)
    if count <= _FEW or dtype.is_complex:
        same = ops.eq(reshaped(given, (*shape, 1)), tests)
        found = ops.max(same, axes=(len(shape),))
    else:
        lined = ops.index(tests, ops.argsort(tests, axis=0), axes=(0,))
        at = ops.minimum(_search(lined, given, False, dt.int64), count - 1)
        found = ops.eq(ops.index(lined, at, axes=(0,)), given)
    return ops.logical_not(found) if invert else found


#: Up to so many, all are compared.
_FEW = 16


# What there is but once --------------------------------------------------------------------------------


@tensor_method
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements, or slices along an axis, in order; how many there are is read off the values.

    Args:
        input: Any tensor.
        sorted: In order; they are anyway.
        return_inverse: Also where each element of the input is among them.
        return_counts: Also how often each occurs.
        dim: Slices along this axis instead of elements.

    Returns:
        The elements, or a tuple of what was asked for.
    """
    return _unique("unique", input, return_inverse, return_counts, dim, True)


@tensor_method
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """The elements, or slices along an axis, without those that are equal to the one before; see `unique`."""
    return _unique("unique_consecutive", input, return_inverse, return_counts, dim, False)


def _unique(name: str, x: Tensor, inverse: bool, counts: bool, dim: int | None, ordered: bool) -> Any:
    check_tensor(name, x)
    if x.dtype.is_complex:
        fail(DTypeError, f"{name}: {x.dtype.name} has no order", "look at the parts with view_as_real")
    axis = 0 if dim is None else one_axis(name, dim, x.ndim)
    slices = x.detach() if dim is not None and x.ndim else reshaped(x.detach(), (x.numel(),))
    size = slices.shape[axis]
    if any(n == 0 for a, n in enumerate(slices.shape) if a != axis):
        fail(
            ShapeError,
            f"{name}: shape {tuple(x.shape)} has 0 sized dimensions, and they aren't selected",
            "there is nothing to compare slices by",
        )
    front = ops.transpose(slices, perm=(axis, *(a for a in range(slices.ndim) if a != axis)))
    rows = reshaped(front, (size, prod(front.shape[1:])))
    order = _order_of(rows) if ordered else None
    first = _begins(rows if order is None else ops.index(rows, order, axes=(0,)))
    (starts,) = nonzero_positions(first)
    found = [index_select(slices, axis, starts if order is None else ops.index(order, starts, axes=(0,)))]
    if inverse:
        number = ops.sub(ops.cumsum(cast(first, dt.int64), axis=0), 1)
        if order is not None:
            number = ops.index_put(number, number, order, axes=(0,))
        found.append(reshaped(number, tuple(x.shape)) if dim is None else number)
    if counts:
        ends = ops.concatenate(starts, ops.full(size, (1,), dt.int64, str(x.device)), axis=0)
        found.append(ops.sub(sliced(ends, 0, 1, ends.shape[0]), starts))
    return found[0] if len(found) == 1 else tuple(found)


def _order_of(rows: Tensor) -> Tensor:
    """The order in which rows rise: by the last column first, as each sort keeps the order of those behind it."""
    order = iota((rows.shape[0],), 0, dt.int64, rows)
    for k in reversed(range(fixed(rows.shape[1]))):
        column = reshaped(sliced(rows, 1, k, k + 1), (rows.shape[0],))
        order = ops.index(order, ops.argsort(ops.index(column, order, axes=(0,)), axis=0), axes=(0,))
    return order


def _begins(rows: Tensor) -> Tensor:
    """Which rows differ from the one before."""
    size = rows.shape[0]
    if size < 2:
        return filled(True, rows, (size,), dt.bool_)
    differ = ops.max(ops.ne(sliced(rows, 0, 1, size), sliced(rows, 0, 0, size - 1)), axes=(1,))
    return ops.pad(differ, low=(1,), high=(0,), value=True)
