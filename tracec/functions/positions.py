"""Checks of index tensors, and coordinates made of them."""

from __future__ import annotations

from typing import Any, NoReturn

from tracec import ops
from tracec.errors import AxisError, DTypeError, ShapeError
from tracec.functions.common import check_tensor, fail, iota, one_axis, out_of, reshaped, sliced
from tracec.ir import dtype as dt
from tracec.record.check import check_range
from tracec.record.tensor import Tensor


def check_index_type(name: str, index: Tensor) -> None:
    """Refuse indices of an element type other than int64 and int32; empty ones may have any."""
    check_tensor(name, index, "index")
    if index.dtype not in (dt.int64, dt.int32) and index.numel():
        fail(DTypeError, f"{name}: expected dtype int32/int64 for index, {index.dtype.name} given", "cast with .long()")


def check_positions(name: str, index: Tensor, size: int, axis: int, wraps: bool = False) -> None:
    """Refuse indices that are no integers, or out of range.

    Args:
        name: The function, for errors.
        index: The indices.
        size: How many positions there are.
        axis: What they are positions of, for errors.
        wraps: Negative ones count from the end.
    """
    check_tensor(name, index, "index")
    if index.dtype.kind not in "iu":
        fail(DTypeError, f"{name}: index is {index.dtype.name}, positions are integers", "cast it with .long()")
    least = -size if wraps else 0

    def refuse(values: Any) -> NoReturn:
        fail(
            AxisError,
            f"{name}: {out_of(values, least, 'an index', 'index')} is out of bounds for axis {axis} with size {size}",
            f"use indices from {least} to {size - 1}" if size else "the axis is empty",
        )

    check_range(index, least, size - 1, refuse)


def not_rising(ends: Tensor, total: int) -> Tensor:
    """Where a vector of one element at least does not rise from 0 to a number: bools, one of which then holds."""
    n = ends.shape[0]
    first, last = sliced(ends, 0, 0, 1), sliced(ends, 0, n - 1, n)
    steps = ops.lt(sliced(ends, 0, 1, n), sliced(ends, 0, 0, n - 1))
    return ops.concatenate(ops.ne(first, 0), ops.ne(last, total), steps, axis=0)


def wrapped(name: str, index: Tensor, size: int, axis: int) -> Tensor:
    """Indices of which negative ones count from the end, checked, as such that count from the front."""
    check_positions(name, index, size, axis, wraps=True)
    return ops.where(ops.lt(index, 0), ops.add(index, size), index) if index.dtype.kind == "i" else index


def check_vector(name: str, index: Tensor) -> Tensor:
    """A vector of indices; a scalar is one of a single index."""
    check_index_type(name, index)
    if index.ndim > 1:
        fail(AxisError, f"{name}: index has shape {tuple(index.shape)}", "it is a vector")
    return reshaped(index, (index.numel(),))


def along_axis(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    """Input and index as at least vectors, and the axis; the index's type and sizes checked, not its values."""
    check_tensor(name, input)
    check_index_type(name, index)
    axis = one_axis(name, dim, input.ndim)
    x = reshaped(input, (1,)) if not input.ndim else input
    at = reshaped(index, (1,)) if not index.ndim else index
    if not at.numel():
        return x, axis, at
    if at.ndim != x.ndim:
        fail(
            ShapeError,
            f"{name}: index of shape {tuple(index.shape)} for input of shape {tuple(input.shape)}",
            "index has as many dimensions as the input",
        )
    for a, (n, m) in enumerate(zip(at.shape, x.shape, strict=True)):
        if a != axis and n > m:
            fail(
                ShapeError,
                f"{name}: index of shape {tuple(index.shape)} is larger than input of shape {tuple(input.shape)} "
                f"(axis {a}: {n} vs {m})",
                f"index may exceed the input along axis {axis} only",
            )
    check_positions(name, at, x.shape[axis], axis)
    return x, axis, at


def coordinates(at: Tensor, axis: int) -> list[Tensor]:
    """For each axis the position that an element of the index stands for."""
    shape = tuple(at.shape)
    own = [tuple(n if a == b else 1 for b in range(len(shape))) for a, n in enumerate(shape)]
    return [at if a == axis else iota(own[a], a, dt.int64, at) for a in range(len(shape))]
