"""Sums of sparse tensors, and softmax over what is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tracec.functions as F
from tracec import ops
from tracec.functions.common import cast, filled, many_axes, one_axis, reshaped
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.tensor import Tensor
from tracec.sparse.coo import SparseTensor, add_at, check_sparse, flat, handles, rows_of


@handles("sum")
def sum(input: SparseTensor, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """The sum along axes.

    Args:
        input: A sparse tensor.
        dim: An axis or several; by default all.
        keepdim: Whether they stay, with size 1.
        dtype: Element type of the sum; for integers int64 by default.

    Returns:
        A dense tensor where no sparse axis is left, otherwise a sparse one.
    """
    check_sparse("sum", input)
    axes, sparse = many_axes("sum", dim, input.ndim), input.sparse_dim()
    inner = tuple(a - sparse + 1 for a in axes if a >= sparse)
    values = F.sum(input._data, inner, dtype=dtype) if inner else F.sum(input._data.unsqueeze(0), 0, dtype=dtype)
    sizes = [n for a, n in enumerate(input._sizes) if a not in axes]
    left = [a for a in range(sparse) if a not in axes]
    if not left:
        found: Any = F.sum(values, 0, dtype=values.dtype)
    elif len(left) == sparse:
        found = SparseTensor(input._places[0], values, sizes, input._coalesced)
    else:
        rows = rows_of(input._places[0])
        places = ops.concatenate(*(reshaped(rows[a], (1, input._nnz())) for a in left), axis=0)
        found = SparseTensor(places, values, sizes).coalesce()
    if keepdim and dim is not None:
        for axis in axes:
            found = F.unsqueeze(found, axis)
    return found


def softmax(input: SparseTensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """Softmax of what is stored along an axis; what is not stored counts as minus infinity.

    Args:
        input: A sparse tensor, floating.
        dim: The axis.
        dtype: Element type to compute in.
    """
    return _normed("softmax", input, dim, dtype, lambda e, total, shifted: ops.div(e, total))


def log_softmax(input: SparseTensor, dim: int, *, dtype: DType | None = None) -> SparseTensor:
    """The logarithm of `softmax`."""
    return _normed("log_softmax", input, dim, dtype, lambda e, total, shifted: ops.sub(shifted, ops.log(total)))


def _normed(
    name: str, input: SparseTensor, dim: int, dtype: DType | None, give: Callable[[Tensor, Tensor, Tensor], Tensor]
) -> SparseTensor:
    check_sparse(name, input)
    axis, sparse = one_axis(name, dim, input.ndim), input.sparse_dim()
    x = input.coalesce()
    values = cast(x._data, dtype)
    if axis >= sparse:
        return x.with_data(getattr(F, name)(values, axis - sparse + 1))
    rows = [r for a, r in enumerate(rows_of(x._places[0])) if a != axis]
    sizes = [n for a, n in enumerate(x._sizes[:sparse]) if a != axis]
    count = 1
    for n in sizes:
        count *= n
    group = flat(ops.concatenate(*(reshaped(r, (1, x._nnz())) for r in rows), axis=0), sizes) if rows else None
    group = filled(0, x._places[0], (x._nnz(),), dt.int64) if group is None else group
    if not values.numel():
        return x.with_data(values)
    start = filled(float("-inf"), values, (count, *values.shape[1:]))
    largest = ops.index_combine(start, values.detach(), group, axes=(0,), combine="maximum")
    shifted = ops.sub(values, ops.index(largest, group, axes=(0,)))
    e = ops.exp(shifted)
    total = add_at(filled(0.0, values, (count, *values.shape[1:])), e, (group,))
    return x.with_data(give(e, ops.index(total, group, axes=(0,)), shifted))
