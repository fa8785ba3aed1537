"""Axes of sparse tensors: exchanged, joined, picked from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError, AxisError, ShapeError
from tracec.functions.common import cast, fail, filled, integers, one_axis, reshaped
from tracec.ir import dtype as dt
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor
from tracec.sparse.coo import SparseTensor, axis_of, check_sparse, handles, rows_of, taken


@handles("permute")
def permute(input: SparseTensor, *dims: Any) -> SparseTensor:
    """The axes in another order, sparse ones among themselves and dense ones among themselves."""
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    order = [one_axis("permute", d, input.ndim) for d in integers("permute", given, "dims")]
    if sorted(order) != list(range(input.ndim)):
        fail(ShapeError, f"permute: dims {tuple(order)} for {input.ndim} axes", "name each axis once")
    axes = input.sparse_dim()
    if any(d >= axes for d in order[:axes]):
        fail(
            ArgumentError,
            f"permute: dims {tuple(order)} exchange sparse and dense axes, of which there are {axes} and "
            f"{input.dense_dim()}",
            "make it dense first",
        )
    if order == list(range(input.ndim)):
        return input
    rows = rows_of(input._places[0])
    stored = input._nnz()
    places = ops.concatenate(*(reshaped(rows[d], (1, stored)) for d in order[:axes]), axis=0)
    values = F.permute(input._data, (0, *(d - axes + 1 for d in order[axes:])))
    ordered = input._coalesced and (stored < 2 or order[:axes] == list(range(axes)))
    return SparseTensor(places, values, [input._sizes[d] for d in order], ordered)


@handles("transpose", "swapaxes", "swapdims")
def transpose(input: SparseTensor, dim0: int, dim1: int) -> SparseTensor:
    """Two axes exchanged, both sparse or both dense."""
    a, b = (one_axis("transpose", d, input.ndim) for d in (dim0, dim1))
    order = list(range(input.ndim))
    order[a], order[b] = b, a
    return permute(input, order)


@handles("t")
def t(input: SparseTensor) -> SparseTensor:
    """A matrix transposed."""
    if input.ndim > 2 or input.dense_dim():
        fail(
            ShapeError,
            f"t: expects a tensor with <= 2 sparse and 0 dense dimensions, but got {input.sparse_dim()} sparse and "
            f"{input.dense_dim()} dense dimensions",
            "use transpose",
        )
    return transpose(input, 0, 1) if input.ndim == 2 else input


@handles("T")
def reversed_axes(input: SparseTensor) -> SparseTensor:
    """The axes in reverse order."""
    return permute(input, [*range(input.ndim - 1, -1, -1)]) if input.ndim else input


@handles("mT")
def last_two_exchanged(input: SparseTensor) -> SparseTensor:
    """The last two axes exchanged."""
    return transpose(input, -2, -1)


@handles("unsqueeze")
def unsqueeze(input: SparseTensor, dim: int) -> SparseTensor:
    """One more axis, of size 1: a sparse one up to behind the sparse ones, otherwise a dense one."""
    at = one_axis("unsqueeze", dim, input.ndim + 1)
    sizes = [*input._sizes[:at], 1, *input._sizes[at:]]
    axes = input.sparse_dim()
    if at > axes:
        return SparseTensor(input._places[0], F.unsqueeze(input._data, at - axes + 1), sizes, input._coalesced)
    rows = [reshaped(r, (1, input._nnz())) for r in rows_of(input._places[0])]
    rows.insert(at, filled(0, input._places[0], (1, input._nnz())))
    return SparseTensor(ops.concatenate(*rows, axis=0), input._data, sizes, input._coalesced)


@handles("cat", "concat", "concatenate")
def cat(tensors: Sequence[Any], dim: int = 0) -> SparseTensor:
    """Sparse tensors one behind the other along an axis.

    Raises:
        ShapeError: their shapes differ along other axes, or their sparse axes.
    """
    for x in tensors:
        check_sparse("cat", x, "each of tensors")
    first = tensors[0]
    axis = one_axis("cat", dim, first.ndim)
    for x in tensors[1:]:
        if x.sparse_dim() != first.sparse_dim() or not _same_but(axis, x._sizes, first._sizes):
            fail(ShapeError, f"cat: shapes {tuple(first.shape)} and {tuple(x.shape)}", "they differ along dim alone")
    sizes = list(first._sizes)
    sizes[axis] = sum(x._sizes[axis] for x in tensors)
    dtype = result_type_of(*(x._data for x in tensors)) if len(tensors) == 2 else None
    values = [x._data if dtype is None else cast(x._data, dtype) for x in tensors]
    places = []
    at = 0
    for k, x in enumerate(tensors):
        shift = [at if d == axis else 0 for d in range(first.sparse_dim())]
        places.append(ops.add(x._places[0], F.tensor(shift, dtype=dt.int64, device=x.device).unsqueeze(1)))
        if axis >= first.sparse_dim():
            low, high = at, sizes[axis] - at - x._sizes[axis]
            values[k] = _padded(values[k], axis - first.sparse_dim() + 1, low, high)
        at += x._sizes[axis]
    return SparseTensor(ops.concatenate(*places, axis=1), F.cat(values, 0), sizes)


def _same_but(axis: int, a: Sequence[int], b: Sequence[int]) -> bool:
    return len(a) == len(b) and all(m == n for k, (m, n) in enumerate(zip(a, b, strict=True)) if k != axis)


def _padded(x: Tensor, axis: int, low: int, high: int) -> Tensor:
    lows, highs = [0] * x.ndim, [0] * x.ndim
    lows[axis], highs[axis] = low, high
    return ops.pad(x, low=tuple(lows), high=tuple(highs), value=0)  # type: ignore[no-any-return]


@handles("stack")
def stack(tensors: Sequence[Any], dim: int = 0) -> SparseTensor:
    """Sparse tensors of one shape side by side along a new axis."""
    for x in tensors:
        check_sparse("stack", x, "each of tensors")
        if x._sizes != tensors[0]._sizes:
            fail(ShapeError, f"stack: shapes {tuple(tensors[0].shape)} and {tuple(x.shape)}", "all have one shape")
    return cat([unsqueeze(x, dim) for x in tensors], dim)


# Picking ----------------------------------------------------------------------------------------------


@handles("select")
def select(input: SparseTensor, dim: int, index: int) -> Any:
    """One place of an axis; a dense tensor where no sparse axis is left. What is there is read off the coordinates.

    Raises:
        AxisError: there is no such place.
    """
    axis = one_axis("select", dim, input.ndim)
    size, axes = input._sizes[axis], input.sparse_dim()
    (at,) = integers("select", (index,), "index")
    if not -size <= at < size:
        fail(AxisError, f"select: index {at} is out of bounds for dimension {axis} with size {size}", "name a place")
    at %= size
    sizes = [*input._sizes[:axis], *input._sizes[axis + 1 :]]
    if axis >= axes:
        return SparseTensor(input._places[0], F.select(input._data, axis - axes + 1, at), sizes, input._coalesced)
    (kept,) = F.nonzero(ops.eq(axis_of(input._places[0], axis), at), as_tuple=True)
    if axes == 1:
        return F.sum(F.index_select(input._data, 0, kept), 0, dtype=input.dtype)
    rows = [r for k, r in enumerate(rows_of(input._places[0])) if k != axis]
    places = ops.concatenate(*(reshaped(r, (1, input._nnz())) for r in rows), axis=0)
    return taken(input, kept, F.index_select(places, 1, kept), sizes)


@handles("__getitem__")
def get_item(input: SparseTensor, key: Any) -> Any:
    """Places of the first axes, given by integers.

    Raises:
        UnsupportedError: it is indexed by anything else.
    """
    found: Any = input
    for index in key if isinstance(key, tuple) else (key,):
        if isinstance(index, bool) or not hasattr(index, "__index__") or (isinstance(index, Tensor) and index.ndim):
            SparseTensor.refuse("index by slices or tensors")
        found = select(found, 0, int(index)) if isinstance(found, SparseTensor) else found[index]
    return found


@handles("__iter__")
def each(input: SparseTensor) -> Iterator[Any]:
    """All places of the first axis, one by one."""
    return iter(unbind(input))


@handles("unbind")
def unbind(input: SparseTensor, dim: int = 0) -> Any:
    """All places of an axis, one by one."""
    return tuple(select(input, dim, k) for k in range(input._sizes[one_axis("unbind", dim, input.ndim)]))


@handles("index_select")
def index_select(input: SparseTensor, dim: int, index: Tensor) -> SparseTensor:
    """Places of an axis by number, which may be named several times.

    Raises:
        AxisError: a number is out of range.
    """
    axis = one_axis("index_select", dim, input.ndim)
    axes = input.sparse_dim()
    count = index.numel()
    sizes = [*input._sizes[:axis], count, *input._sizes[axis + 1 :]]
    if axis >= axes:
        values = F.index_select(input._data, axis - axes + 1, index)
        return SparseTensor(input._places[0], values, sizes, input._coalesced)
    F.index_select(F.arange(input._sizes[axis], device=index.device), 0, index)  # the check of what is named
    mine = axis_of(input._places[0], axis)
    same = ops.eq(reshaped(mine, (mine.shape[0], 1)), reshaped(ops.cast(index, dtype=dt.int64), (1, count)))
    kept, to = F.nonzero(same, as_tuple=True)
    rows = [F.index_select(r, 0, kept) if k != axis else to for k, r in enumerate(rows_of(input._places[0]))]
    found = taken(input, kept, F.stack(rows), sizes)
    return (
        SparseTensor(found._places[0], found._data, sizes).coalesce()
        if input._coalesced
        else SparseTensor(found._places[0], found._data, sizes)
    )


@handles("narrow_copy")
def narrow_copy(input: SparseTensor, dim: int, start: int, length: int) -> SparseTensor:
    """Places of an axis one behind the other."""
    return index_select(input, dim, F.arange(start, start + length, device=input.device))
