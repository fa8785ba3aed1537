"""Functions that copy elements to other places: repeated, reversed, turned, moved along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_tensor,
    expanded,
    fail,
    integers,
    many_axes,
    one_axis,
    one_integer,
    reshaped,
    sizes_of,
    sliced,
)
from tracec.functions.shape import given_as, transpose
from tracec.ir import dtype as dt
from tracec.record.check import check_none
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def repeat(input: Tensor, *counts: Any, repeats: Sequence[int] | None = None) -> Tensor:
    """The whole tensor repeated along each axis; more counts than axes make new axes in front.

    Args:
        input: Any tensor.
        *repeats: How often along each axis, one after the other or as one tuple.
    """
    check_tensor("repeat", input)
    return _repeated("repeat", input, sizes_of("repeat", given_as("repeat", "repeats", counts, repeats)))


def _repeated(name: str, x: Tensor, counts: tuple[int, ...]) -> Tensor:
    if len(counts) < x.ndim:
        fail(ShapeError, f"{name}: {len(counts)} counts for {x.ndim} axes", "give a count for each axis")
    shape = (1,) * (len(counts) - x.ndim) + tuple(x.shape)
    if all(c == 1 for c in counts):
        return reshaped(x.clone(), shape)
    apart = tuple(n for c, s in zip(counts, shape, strict=True) for n in (c, s))
    ones = tuple(n for s in shape for n in (1, s))
    whole = tuple(c * s for c, s in zip(counts, shape, strict=True))
    return _owned(reshaped(expanded(reshaped(x, ones), apart), whole), x)


def _owned(result: Tensor, x: Tensor) -> Tensor:
    """The result in memory of its own, where it only looks at that of another."""
    return result.clone() if result._storage is x._storage else result


@tensor_method
def tile(input: Tensor, *counts: Any, dims: Sequence[int] | None = None) -> Tensor:
    """`repeat`, where missing counts are 1."""
    check_tensor("tile", input)
    found = sizes_of("tile", given_as("tile", "dims", counts, dims))
    return _repeated("tile", input, (1,) * (input.ndim - len(found)) + found)


@tensor_method
def repeat_interleave(
    input: Tensor, repeats: int | Tensor | None = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element repeated, in place.

    Args:
        input: Any tensor; without ``repeats`` it is the counts, and positions come back.
        repeats: How often, for all or for each element of the axis; counts that differ are read off the values,
            where ``output_size`` does not say what they add up to.
        dim: The axis; without one, the input is flattened.
        output_size: How many elements the result's axis has.

    Raises:
        ArgumentError: a count is negative, or they do not add up to ``output_size``.
        ShapeError: there is not one count for each element of the axis.
    """
    check_tensor("repeat_interleave", input)
    if repeats is None:
        return _places("repeat_interleave", input, output_size)
    x = reshaped(input, (input.numel(),)) if dim is None else input
    axis = one_axis("repeat_interleave", 0 if dim is None else dim, x.ndim)
    x = reshaped(x, (1,)) if not x.ndim else x
    if isinstance(repeats, Tensor) and repeats.numel() != 1:
        if repeats.ndim != 1 or repeats.shape[0] != x.shape[axis]:
            fail(
                ShapeError,
                f"repeat_interleave: repeats must have the same size as input along dim, but got shape "
                f"{tuple(repeats.shape)} for axis {axis} of size {x.shape[axis]}",
                "give one count, or one for each element",
            )
        rows = ops.index(x, _places("repeat_interleave", repeats, output_size), axes=(axis,))
        return ops.transpose(rows, perm=(*range(1, axis + 1), 0, *range(axis + 1, x.ndim))) if axis else rows
    if isinstance(repeats, Tensor):
        _check_counts("repeat_interleave", repeats)
    (count,) = integers("repeat_interleave", (repeats,), "repeats")
    if count < 0:
        fail(ArgumentError, f"repeat_interleave: repeats can not be negative, {count} given", "give 0 or more")
    shape = tuple(x.shape)
    total = shape[axis] * count
    if output_size is not None and output_size != total:
        fail(ArgumentError, f"repeat_interleave: output_size={output_size}, but it comes to {total}", "leave it out")
    apart = (*shape[: axis + 1], count, *shape[axis + 1 :])
    result = expanded(reshaped(x, (*shape[: axis + 1], 1, *shape[axis + 1 :])), apart)
    return _owned(reshaped(result, (*shape[:axis], total, *shape[axis + 1 :])), x)


def _check_counts(name: str, counts: Tensor) -> None:
    if counts.dtype not in (dt.int64, dt.int32):
        fail(
            DTypeError,
            f"{name}: repeats has to be Long or Int tensor, {counts.dtype.name} given",
            "cast it with .long()",
        )


def _places(name: str, counts: Tensor, total: int | None) -> Tensor:
    """The position of each element, as often as counts say: position i ``counts[i]`` times."""
    _check_counts(name, counts)
    if counts.ndim != 1:
        fail(ShapeError, f"{name}: repeats has shape {tuple(counts.shape)}", "it is a vector")
    ends = ops.cumsum(cast(counts, dt.int64), axis=0)

    def negative(_: Any) -> NoReturn:
        fail(ArgumentError, f"{name}: repeats can not be negative", "give 0 or more")

    def other(found: Any) -> NoReturn:
        comes = "to another number" if found is None else f"to {int(found[-1])}"
        fail(ArgumentError, f"{name}: output_size={total}, but it comes {comes}", "leave it out")

    check_none(ops.lt(counts, 0), negative)
    if counts.numel() and total is None:
        total = int(ends[-1])
    elif counts.numel():
        check_none(ops.ne(sliced(ends, 0, counts.shape[0] - 1, counts.shape[0]), total), other, shown=ends)
    total = total or 0
    if not counts.numel() or not total:
        return ops.full(0, (0 if not counts.numel() else total,), dt.int64, str(counts.device)).clone()
    # A one where an element's last place ends; sums of them count the elements that have ended before.
    steps = ops.full(0, (total + 1,), dt.int64, str(counts.device))
    one = ops.full(1, tuple(ends.shape), dt.int64, str(counts.device))
    ended = ops.index_put(steps, one, ops.minimum(ends, total), axes=(0,), add=True)
    return ops.cumsum(sliced(ended, 0, 0, total), axis=0)


@tensor_method
def flip(input: Tensor, *axes: Any, dims: Sequence[int] | None = None) -> Tensor:
    """The elements in reverse along some axes.

    Args:
        input: Any tensor.
        *axes: The axes, one after the other or as one tuple.
        dims: The same by name.
    """
    check_tensor("flip", input)
    given: Any = given_as("flip", "dims", axes, dims)
    given = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    found = many_axes("flip", given, input.ndim) if given else ()
    return ops.flip(input, axes=found) if found else input.clone()


@tensor_method
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse.

    Raises:
        ShapeError: the input has fewer than two axes.
    """
    check_tensor("fliplr", input)
    if input.ndim < 2:
        fail(ShapeError, "fliplr: input must be >= 2-d.", "use flip")
    return flip(input, 1)


@tensor_method
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse.

    Raises:
        ShapeError: the input has no axes.
    """
    check_tensor("flipud", input)
    if input.ndim < 1:
        fail(ShapeError, "flipud: input must be >= 1-d.", "a tensor of no dimensions has one element")
    return flip(input, 0)


@tensor_method
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees k times, from the first of two axes to the second.

    Raises:
        ArgumentError: the axes are not two of the input's.
    """
    check_tensor("rot90", input)
    given = integers("rot90", dims, "dims")
    if len(given) != 2:
        fail(ArgumentError, f"rot90: expected total rotation dims == 2, but got dims = {len(given)}", "name two axes")
    a, b = (one_axis("rot90", d, input.ndim) for d in given)
    if input.ndim < 2 or a == b:
        fail(ArgumentError, f"rot90: dims {given} of {input.ndim} axes are not two of them", "name two axes")
    turns = one_integer("rot90", k, "k") % 4
    if turns == 0:
        return input.clone()
    if turns == 2:
        return flip(input, (a, b))
    return flip(transpose(input, a, b), a) if turns == 1 else flip(transpose(input, a, b), b)


@tensor_method
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = ()) -> Tensor:
    """Elements moved along axes, those pushed out coming in at the other end; with no axes, in row-major order.

    Raises:
        ArgumentError: there is not one distance for each axis.
        AxisError: there is no such axis.
    """
    check_tensor("roll", input)
    by = integers("roll", shifts if isinstance(shifts, (tuple, list)) else (shifts,), "shifts")
    over = () if dims is None else integers("roll", dims if isinstance(dims, (tuple, list)) else (dims,), "dims")
    if not over and len(by) == 1:
        flat = reshaped(input, (input.numel(),))
        return reshaped(_rolled(flat, by[0], 0), tuple(input.shape))
    if len(by) != len(over) or not by:
        fail(
            ArgumentError,
            f"roll: shifts and dimensions must align. shifts: {len(by)}, dims: {len(over)}",
            "give one for each",
        )
    if not input.ndim:
        fail(AxisError, f"roll: dims {over} of a tensor that has no dimensions", "leave dims away")
    result = input
    for amount, dim in zip(by, over, strict=True):
        result = _rolled(result, amount, one_axis("roll", dim, input.ndim))
    return _owned(result, input)


def _rolled(x: Tensor, amount: int, axis: int) -> Tensor:
    size = x.shape[axis]
    cut = size - amount % size if size else 0
    if cut in (0, size):
        return x.clone()
    return ops.concatenate(sliced(x, axis, cut, size), sliced(x, axis, 0, cut), axis=axis)
