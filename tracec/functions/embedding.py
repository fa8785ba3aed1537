"""Tables whose rows are looked up by number."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.common import check_choice, check_tensor, expanded, fail, filled, iota, reshaped, sliced
from tracec.functions.norms import vector_norm
from tracec.functions.positions import check_positions
from tracec.ir import dtype as dt
from tracec.record.check import check_none, check_range
from tracec.record.mode import no_grad
from tracec.record.tensor import Tensor


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table.

    Args:
        input: Row numbers, integers.
        weight: The table, shape ``(rows, width)``.
        padding_idx: A row that no gradient goes to.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it, in the table itself.
        norm_type: The p of that norm.
        scale_grad_by_freq: Divide a row's gradient by how often it was looked up.
        sparse: Taken as in PyTorch, with no effect: gradients are dense.

    Returns:
        Shape ``(*input.shape, width)``.

    Raises:
        AxisError: a row number is out of range.
    """
    _check("embedding", input, weight, padding_idx)
    if max_norm is not None:
        _renormed(weight, input, max_norm, norm_type)
    rows = _rows(weight, input, scale_grad_by_freq)
    if padding_idx is None:
        return rows
    padding = padding_idx % weight.shape[0]
    return ops.where(reshaped(ops.eq(input, padding), (*tuple(input.shape), 1)), rows.detach(), rows)


def _check(name: str, input: Tensor, weight: Tensor, padding_idx: int | None) -> None:
    check_tensor(name, input)
    check_tensor(name, weight, "weight")
    if weight.ndim != 2:
        fail(ShapeError, f"{name}: weight has shape {tuple(weight.shape)}", "it is (rows, width)")
    count = weight.shape[0]
    if padding_idx is not None and not -count <= padding_idx < count:
        fail(ArgumentError, f"{name}: padding_idx={padding_idx} is out of range for {count} rows", "name one of them")
    check_positions(name, input, count, 0)


def _renormed(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale the rows that are looked up down to a norm, in place."""
    with no_grad():
        table = weight.detach()
        at = reshaped(ops.cast(input, dtype=dt.int64), (input.numel(),))
        rows = ops.index(table, at, axes=(0,))
        length = vector_norm(rows, norm_type, 1, keepdim=True)
        scale = ops.where(ops.gt(length, max_norm), ops.div(max_norm, ops.add(length, 1e-7)), 1.0)
        # A row that is looked up twice is written twice, both times the same.
        table.copy_(ops.index_put(table, ops.mul(rows, scale), at, axes=(0,)))


def _rows(weight: Tensor, at: Tensor, by_count: bool) -> Tensor:
    rows = ops.index(weight, at, axes=(0,))
    if not by_count:
        return rows
    found = reshaped(ops.cast(at, dtype=dt.int64), (at.numel(),))
    zeros, ones = filled(0.0, weight, (weight.shape[0],)), filled(1.0, weight, (at.numel(),))
    counts = ops.index(ops.index_put(zeros, ones, found, axes=(0,), add=True), at, axes=(0,))
    still = rows.detach()
    return ops.add(still, ops.div(ops.sub(rows, still), reshaped(counts, (*tuple(at.shape), 1))))


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of rows of a table.

    Args:
        input: Row numbers, integers: shape ``(B, L)``, bags of one size; or ``(n,)``, one behind the other.
        weight: The table, shape ``(rows, width)``.
        offsets: Where each bag begins, shape ``(B,)``, from 0 upwards; with the one-dimensional input alone.
        max_norm: Rows that are looked up and have a larger norm are first scaled down to it, in the table itself.
        norm_type: The p of that norm.
        scale_grad_by_freq: Divide a row's gradient by how often it was looked up.
        mode: ``sum``, ``mean`` or ``max``; of an empty bag, 0.
        sparse: Taken as in PyTorch, with no effect: gradients are dense.
        per_sample_weights: A factor for each row that is looked up, of input's shape; with ``sum`` alone.
        include_last_offset: Whether ``offsets`` ends with the number of elements.
        padding_idx: A row that does not count.

    Returns:
        Shape ``(B, width)``.

    Raises:
        ShapeError: shapes do not fit.
        ArgumentError: arguments contradict each other.
        AxisError: a row number is out of range.
    """
    name = "embedding_bag"
    check_choice(name, "mode", mode, ("sum", "mean", "max"))
    _check(name, input, weight, padding_idx)
    _check_bags(input, offsets, per_sample_weights, mode, scale_grad_by_freq)
    if max_norm is not None:
        _renormed(weight, input, max_norm, norm_type)
    flat = reshaped(input, (input.numel(),))
    rows = _rows(weight, flat, scale_grad_by_freq)
    counted = None
    if padding_idx is not None:
        counted = reshaped(ops.ne(flat, padding_idx % weight.shape[0]), (flat.numel(), 1))
    if per_sample_weights is not None:
        rows = ops.mul(rows, reshaped(per_sample_weights, (flat.numel(), 1)))
    if input.ndim == 2:
        bags = iota(tuple(input.shape), 0, dt.int64, flat)
        return _bagged(rows, reshaped(bags, (flat.numel(),)), input.shape[0], counted, mode)
    assert offsets is not None
    return _bagged(rows, *_bags_of(offsets, flat, include_last_offset), counted, mode)


def _check_bags(input: Tensor, offsets: Tensor | None, factors: Tensor | None, mode: str, by_count: bool) -> None:
    name = "embedding_bag"
    if input.ndim not in (1, 2):
        fail(ShapeError, f"{name}: input has shape {tuple(input.shape)}", "it is (B, L), or (n,) with offsets")
    if (input.ndim == 2) != (offsets is None):
        given = "no offsets" if offsets is None else "offsets"
        fail(ArgumentError, f"{name}: {given} for input of shape {tuple(input.shape)}", "they belong to shape (n,)")
    if offsets is not None and (offsets.ndim != 1 or offsets.dtype.kind not in "iu"):
        error = ShapeError if offsets.ndim != 1 else DTypeError
        fail(error, f"{name}: offsets are {offsets.dtype.name} of shape {tuple(offsets.shape)}", "integers, (B,)")
    if mode == "max" and by_count:
        fail(ArgumentError, f"{name}: mode='max' with scale_grad_by_freq", "use another mode, or leave it out")
    if factors is not None:
        if mode != "sum":
            fail(ArgumentError, f"{name}: per_sample_weights with mode={mode!r}", "they go with mode='sum' alone")
        if tuple(factors.shape) != tuple(input.shape):
            shapes = f"per_sample_weights of shape {tuple(factors.shape)} for input of shape {tuple(input.shape)}"
            fail(ShapeError, f"{name}: {shapes}", "the shapes must be the same")


def _bags_of(offsets: Tensor, flat: Tensor, with_last: bool) -> tuple[Tensor, int]:
    """The number of the bag of each element, and how many bags there are."""
    elements, bags = flat.numel(), offsets.numel() - with_last
    if bags < 0:
        fail(ShapeError, "embedding_bag: offsets are empty", "with include_last_offset there is at least one")

    def out_of_range(values: Any) -> NoReturn:
        reach = "are out of range" if values is None else f"go from {int(values.min())} to {int(values.max())}"
        fail(AxisError, f"embedding_bag: offsets {reach}", f"they go from 0 to the number of elements, {elements}")

    def late(values: Any) -> NoReturn:
        first = "not 0" if values is None else int(values[0])
        hint = "it is 0: the first bag begins with the first element"
        fail(ArgumentError, f"embedding_bag: offsets[0] is {first}", hint)

    check_range(offsets, 0, elements, out_of_range)
    check_none(ops.ne(sliced(offsets, 0, 0, 1), 0) if offsets.numel() else ops.ne(offsets, 0), late, shown=offsets)
    marks = filled(0, flat, (elements + 1,), dt.int64)
    one = filled(1, flat, (offsets.numel(),), dt.int64)
    begun = ops.index_put(marks, one, ops.cast(offsets, dtype=dt.int64), axes=(0,), add=True)
    bag = ops.sub(ops.cumsum(begun, axis=0), 1)
    return ops.slice(bag, starts=(0,), stops=(elements,), steps=(1,)), bags


def _bagged(rows: Tensor, bag: Tensor, bags: int, counted: Tensor | None, mode: str) -> Tensor:
    width = rows.shape[1]
    if mode == "max":
        inside = ops.eq(iota((bags, rows.shape[0], 1), 0, dt.int64, rows), reshaped(bag, (1, rows.shape[0], 1)))
        if counted is not None:
            inside = ops.bitwise_and(inside, reshaped(counted, (1, rows.shape[0], 1)))
        if not rows.numel() or not bags:
            return ops.add(filled(0.0, rows, (bags, width)), ops.sum(rows))
        largest = ops.max(ops.where(inside, reshaped(rows, (1, *rows.shape)), -math.inf), axes=(1,))
        return ops.where(ops.eq(largest, -math.inf), 0.0, largest)
    if counted is not None:
        rows = ops.where(counted, rows, 0.0)
    empty = filled(0.0, rows, (bags, width))
    total = ops.index_put(empty, rows, bag, axes=(0,), add=True)
    if mode == "sum":
        return total
    ones = filled(1.0, rows, (rows.shape[0], 1))
    ones = ones if counted is None else ops.cast(counted, dtype=rows.dtype)
    counts = ops.index_put(filled(0.0, rows, (bags, 1)), ones, bag, axes=(0,), add=True)
    return ops.div(total, expanded(ops.maximum(counts, 1.0), (bags, width)))
