"""Products of matrices and vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError, TracecError
from tracec.functions.common import (
    Scalar,
    check_ndim,
    check_tensor,
    expanded,
    fail,
    iota,
    many_axes,
    one_axis,
    reshaped,
)
from tracec.functions.reduction import Axes, norm
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, by PyTorch's rules for dimensions.

    Two vectors give their dot product. A vector on the left is a row, one on the right a column, and that
    axis is left out of the result. More than two dimensions are stacks of matrices, whose leading axes broadcast.

    Raises:
        ShapeError: the sizes summed over differ, an operand is a scalar, or leading axes do not broadcast.
    """
    return _matmul("matmul", input, other)


def _matmul(name: str, a: Tensor, b: Tensor) -> Tensor:
    check_tensor(name, a)
    check_tensor(name, b, "other")
    left, right = tuple(a.shape), tuple(b.shape)
    if not left or not right:
        fail(ShapeError, f"{name}: shapes {left} and {right}: a scalar is no matrix", "use * to scale")
    summed = right[-2] if len(right) > 1 else right[0]
    if left[-1] != summed:
        fail(
            ShapeError,
            f"{name}: shapes {left} and {right} do not multiply (axis {len(left) - 1} of the first: {left[-1]}, "
            f"axis {max(len(right) - 2, 0)} of the second: {summed})",
            "the last axis of the first operand is summed against the last but one of the second",
        )
    if a.dtype is not b.dtype:
        fail(
            DTypeError,
            f"{name}: dtypes {a.dtype.name} and {b.dtype.name} differ",
            "cast one to the other's dtype",
        )
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    if len(right) <= 2:
        # All leading axes of the first are rows of one matrix: one large product instead of many.
        matrix = reshaped(a, (math.prod(left[:-1]), left[-1]))
        product = ops.dot(matrix, reshaped(b, (summed, columns[0] if columns else 1)))
        return reshaped(product, left[:-1] + columns)
    try:
        batch = broadcast_shapes(left[:-2], right[:-2])
    except TracecError as error:
        fail(ShapeError, f"{name}: leading axes of {left} and {right}: {error.message}", "leading axes broadcast")
    first = expanded(reshaped(a, (1, *left)) if len(left) == 1 else a, (*batch, *(rows or (1,)), left[-1]))
    second = expanded(b, (*batch, summed, *columns))
    return reshaped(ops.dot(first, second), (*batch, *rows, *columns))


@tensor_method
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    check_ndim("mm", input, (2,), "a matrix")
    check_ndim("mm", mat2, (2,), "a matrix", "mat2")
    return _matmul("mm", input, mat2)


@tensor_method
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two stacks of matrices, (B, M, K) and (B, K, N)."""
    check_ndim("bmm", input, (3,), "a stack of matrices")
    check_ndim("bmm", mat2, (3,), "a stack of matrices", "mat2")
    if input.shape[0] != mat2.shape[0]:
        fail(
            ShapeError,
            f"bmm: shapes {tuple(input.shape)} and {tuple(mat2.shape)} are stacks of different size "
            f"(axis 0: {input.shape[0]} vs {mat2.shape[0]})",
            "both hold the same number of matrices; matmul broadcasts",
        )
    return _matmul("bmm", input, mat2)


@tensor_method
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    check_ndim("mv", input, (2,), "a matrix")
    check_ndim("mv", vec, (1,), "a vector", "vec")
    return _matmul("mv", input, vec)


@tensor_method
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The dot product of two vectors."""
    check_ndim("dot", input, (1,), "a vector")
    check_ndim("dot", tensor, (1,), "a vector", "tensor")
    return _matmul("dot", input, tensor)


vdot = tensor_method(name="vdot")(dot)


@tensor_method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last axes of both."""
    if not input.ndim or not other.ndim:
        return ops.mul(input, other)
    return tensordot(input, other, ([input.ndim - 1], [other.ndim - 1]))


@tensor_method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector and one of the other."""
    check_ndim("outer", input, (1,), "a vector")
    check_ndim("outer", vec2, (1,), "a vector", "vec2")
    return ops.mul(reshaped(input, (input.shape[0], 1)), vec2)


@tensor_method
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    product = mm(mat1, mat2)
    return ops.add(input if beta == 1 else ops.mul(input, beta), product if alpha == 1 else ops.mul(product, alpha))


@tensor_method
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2`` over stacks of matrices."""
    product = bmm(batch1, batch2)
    return ops.add(input if beta == 1 else ops.mul(input, beta), product if alpha == 1 else ops.mul(product, alpha))


def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2) -> Tensor:
    """Products summed over several axes: so many last of ``a`` and first of ``b``, or two lists of axes."""
    check_tensor("tensordot", a)
    check_tensor("tensordot", b, "other")
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            fail(
                ArgumentError,
                f"tensordot: dims={dims} for shapes {tuple(a.shape)} and {tuple(b.shape)}",
                "sum over no more axes than both have",
            )
        over_a, over_b = tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims))
    else:
        over_a = tuple(one_axis("tensordot", d, a.ndim) for d in dims[0])
        over_b = tuple(one_axis("tensordot", d, b.ndim) for d in dims[1])
    if [a.shape[i] for i in over_a] != [b.shape[i] for i in over_b]:
        fail(
            ShapeError,
            f"tensordot: axes {over_a} of {tuple(a.shape)} and {over_b} of {tuple(b.shape)} differ in size",
            "axes summed together have one size",
        )
    kept_a = [i for i in range(a.ndim) if i not in over_a]
    kept_b = [i for i in range(b.ndim) if i not in over_b]
    count = math.prod(a.shape[i] for i in over_a)
    left, right = tuple(a.shape[i] for i in kept_a), tuple(b.shape[i] for i in kept_b)
    first = reshaped(ops.transpose(a, perm=(*kept_a, *over_a)), (math.prod(left), count))
    second = reshaped(ops.transpose(b, perm=(*over_b, *kept_b)), (count, math.prod(right)))
    return reshaped(ops.dot(first, second), left + right)


@tensor_method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements whose positions in two axes differ by ``offset``, as a new last axis."""
    check_tensor("diagonal", input)
    a, b = (one_axis("diagonal", d, input.ndim) for d in (dim1, dim2))
    if a == b:
        fail(ArgumentError, f"diagonal: dim1 and dim2 are both axis {a}", "name two axes")
    rest = [i for i in range(input.ndim) if i not in (a, b)]
    x = ops.transpose(input, perm=(*rest, a, b))
    rows, columns = x.shape[-2:]
    down, right = max(-offset, 0), max(offset, 0)
    size = max(min(rows - down, columns - right), 0)
    lead = tuple(x.shape[:-2])
    # In row-major order the diagonal's elements are columns + 1 apart.
    flat = reshaped(x, (*lead, rows * columns))
    start = down * columns + right
    stop = start + size * (columns + 1) - columns if size else start
    n = len(lead)
    return ops.slice(flat, starts=(0,) * n + (start,), stops=(*lead, stop), steps=(1,) * n + (columns + 1,))


_diagonal = diagonal


@tensor_method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix's diagonal, or a square matrix with a vector as its diagonal."""
    check_ndim("diag", input, (1, 2), "a vector or a matrix")
    return diag_embed(input, diagonal) if input.ndim == 1 else _diagonal(input, diagonal)


@tensor_method
def diag_embed(input: Tensor, offset: int = 0) -> Tensor:
    """Square matrices, zero but for a diagonal, which is the last axis of the input."""
    n = input.shape[-1]
    size = n + abs(offset)
    right = max(offset, 0)
    # A column holds the element of its own place; all other rows are zero.
    low, high = [0] * input.ndim, [0] * input.ndim
    low[-1], high[-1] = right, size - n - right
    wide = ops.pad(input, low=tuple(low), high=tuple(high), value=0)
    spread = expanded(reshaped(wide, (*input.shape[:-1], 1, size)), (*tuple(input.shape[:-1]), size, size))
    i, j = (iota((size, size), axis, dt.int64, input) for axis in (0, 1))
    return ops.where(ops.eq(ops.sub(j, i), offset), spread, 0)


@tensor_method
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal."""
    check_ndim("trace", input, (2,), "a matrix")
    return ops.sum(_diagonal(input), axes=(0,), keepdims=False)


def vector_norm(x: Tensor, ord: float = 2, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The norm of vectors along some axes, or of all elements."""
    return norm(x, ord, many_axes("vector_norm", dim, x.ndim), keepdim)
