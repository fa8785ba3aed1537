"""Matrix products of sparse tensors."""

from __future__ import annotations

from typing import Any

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError
from tracec.functions.common import fail, iota, reshaped
from tracec.ir import dtype as dt
from tracec.record.composite import Composite
from tracec.record.tensor import Tensor
from tracec.sparse.coo import SparseTensor, added, axis_of, check_sparse, handles
from tracec.sparse.shapes import transpose


def plain(x: Any) -> Any:
    """A sparse tensor of any layout by coordinates; others as they are."""
    return x.to_sparse_coo() if isinstance(x, Composite) and x.kind == "sparse" else x


def _check(name: str, x: Any, y: Any, dims: tuple[int, ...] = (2, 2)) -> None:
    for what, operand, ndim in (("the first operand", x, dims[0]), ("the second operand", y, dims[1])):
        if not isinstance(operand, Tensor):
            given = type(operand).__name__
            fail(
                ArgumentTypeError, f"{name}: {what} must be a tensor, {given} given", "make one with tracec.tensor(...)"
            )
        if isinstance(operand, Composite) and not isinstance(operand, SparseTensor):
            type(operand).refuse(name)
        if operand.ndim != ndim:
            fail(
                ShapeError,
                f"{name}: {what} has shape {tuple(operand.shape)}",
                f"it has {ndim} dimensions in this product",
            )
        if isinstance(operand, SparseTensor) and operand.dense_dim():
            fail(
                ShapeError,
                f"{name}: {what} has {operand.sparse_dim()} sparse axes and {operand.dense_dim()} dense ones",
                "all axes of a sparse factor are sparse",
            )
    if x.shape[-1] != y.shape[max(y.ndim - 2, 0)]:
        fail(
            ShapeError,
            f"{name}: shapes {tuple(x.shape)} and {tuple(y.shape)} cannot be multiplied",
            "the first has as many columns as the second has rows",
        )
    if x.dtype is not y.dtype:
        fail(DTypeError, f"{name}: expected one dtype, found {x.dtype.name} and {y.dtype.name}", "cast one of them")


def _gathered(rows: Tensor, columns: Tensor, values: Tensor, dense: Tensor, count: int) -> Any:
    """Rows of a matrix, each with a factor, added up by number."""
    picked = ops.index(dense, columns, axes=(0,))
    return added(ops.mul(reshaped(values, (values.shape[0], 1)), picked), rows, count)


@handles("mm", "spmm")
def mm(input: Any, mat2: Any) -> Any:
    """The product of two matrices, one of them sparse; of two sparse ones a sparse one.

    Raises:
        ShapeError: they are no matrices, or do not fit.
        DTypeError: they have different element types.
    """
    x, y = plain(input), plain(mat2)
    _check("mm", x, y)
    if isinstance(x, SparseTensor) and isinstance(y, SparseTensor):
        return _both(x, y)
    if isinstance(x, SparseTensor):
        rows, columns = axis_of(x._places[0], 0), axis_of(x._places[0], 1)
        return _gathered(rows, columns, x._data, y, x.shape[0])
    rows, columns = axis_of(y._places[0], 0), axis_of(y._places[0], 1)
    return F.t(_gathered(columns, rows, y._data, F.t(x), y.shape[1]))


def _both(x: SparseTensor, y: SparseTensor) -> SparseTensor:
    """For each element of the first all that is stored in that row of the second; added up by place."""
    y = y.coalesce()
    size = x.shape[0], y.shape[1]
    rows, columns = axis_of(x._places[0], 0), axis_of(x._places[0], 1)
    starts = F.searchsorted(axis_of(y._places[0], 0), iota((y.shape[0] + 1,), 0, dt.int64, rows))
    first, behind = ops.index(starts, columns, axes=(0,)), ops.index(starts, ops.add(columns, 1), axes=(0,))
    counts = ops.sub(behind, first)
    mine = F.repeat_interleave(iota((x._nnz(),), 0, dt.int64, rows), counts)
    before = ops.sub(ops.cumsum(counts, axis=0), counts)
    theirs = ops.add(iota((mine.shape[0],), 0, dt.int64, rows), F.index_select(ops.sub(first, before), 0, mine))
    values = ops.mul(F.index_select(x._data, 0, mine), F.index_select(y._data, 0, theirs))
    places = F.stack([F.index_select(rows, 0, mine), F.index_select(axis_of(y._places[0], 1), 0, theirs)])
    return SparseTensor(places, values, size).coalesce()


@handles("mv")
def mv(input: Any, vec: Any) -> Tensor:
    """The product of a sparse matrix and a vector."""
    x = plain(input)
    check_sparse("mv", x)
    _check("mv", x, vec, (2, 1))
    return reshaped(mm(x, F.unsqueeze(vec, 1)), (x.shape[0],))


@handles("bmm")
def bmm(input: Any, mat2: Any) -> Tensor:
    """Products of sparse matrices, one for each place of the first axis, with dense ones."""
    check_sparse("bmm", input)
    _check("bmm", input, mat2, (3, 3))
    batch, rows, inner = input.shape
    if mat2.shape[0] != batch:
        fail(ShapeError, f"bmm: {batch} matrices and {mat2.shape[0]}", "there are as many of both")
    which, row, column = (axis_of(input._places[0], k) for k in range(3))
    at = ops.add(ops.mul(which, inner), column)
    dense = reshaped(mat2, (batch * inner, mat2.shape[2]))
    found = _gathered(ops.add(ops.mul(which, rows), row), at, input._data, dense, batch * rows)
    return reshaped(found, (batch, rows, mat2.shape[2]))


@handles("matmul", "__matmul__")
def matmul(input: Any, other: Any) -> Any:
    """`mm`, `mv` or `bmm`, by the numbers of dimensions.

    Raises:
        ShapeError: they are none of these.
    """
    dims = (getattr(input, "ndim", 0), getattr(other, "ndim", 0))
    if dims == (2, 2):
        return mm(input, other)
    if dims == (2, 1):
        return mv(input, other)
    if dims == (1, 2):
        return mv(transpose(plain(other), 0, 1), input)
    if dims == (3, 3):
        return bmm(plain(input), other)
    fail(ShapeError, f"matmul: {dims[0]} and {dims[1]} dimensions, one operand is sparse", SparseTensor.way_out)


@handles("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)`` of a sparse and a dense matrix."""
    product = mm(mat1, mat2)
    if isinstance(input, Composite) and not isinstance(product, Composite):
        fail(ArgumentError, "addmm: a sparse input with a dense product", "make the input dense: to_dense()")
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


@handles("linear")
def linear(input: Any, weight: Any, bias: Tensor | None = None) -> Any:
    """``input @ weight.T + bias``, where the input or the weight is sparse."""
    found = matmul(input, transpose(plain(weight), 0, 1) if isinstance(weight, Composite) else F.t(weight))
    return found if bias is None else found + bias


def sampled_addmm(input: Any, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0) -> Any:
    """``beta * input + alpha * (mat1 @ mat2)`` where the input has something stored, and only there computed.

    Args:
        input: A sparse matrix by rows.
        mat1: Shape ``(rows, k)``.
        mat2: Shape ``(k, columns)``.
        beta: Factor of what is stored.
        alpha: Factor of the product.
    """
    x = plain(input)
    check_sparse("sampled_addmm", x)
    _check("sampled_addmm", mat1, mat2)
    if tuple(x.shape) != (mat1.shape[0], mat2.shape[1]):
        fail(ShapeError, f"sampled_addmm: input of shape {tuple(x.shape)}", f"it is {(mat1.shape[0], mat2.shape[1])}")
    left = ops.index(mat1, axis_of(x._places[0], 0), axes=(0,))
    right = ops.index(F.t(mat2), axis_of(x._places[0], 1), axes=(0,))
    return input.with_data(x._data * beta + F.sum(ops.mul(left, right), 1) * alpha)
