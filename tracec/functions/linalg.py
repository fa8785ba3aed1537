"""Products of matrices and vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError, TracecError
from tracec.functions.common import (
    Number,
    cast,
    check_inexact,
    check_ndim,
    check_tensor,
    expanded,
    fail,
    one_axis,
    reshaped,
    sliced,
)
from tracec.functions.complex import conj
from tracec.ir import dtype as dt
from tracec.ir.number import converted
from tracec.ir.types import Shape, broadcast_shapes
from tracec.record.autocast import LOWER, WIDEST, under_autocast
from tracec.record.method import tensor_method
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor


@tensor_method
@under_autocast(LOWER)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, by PyTorch's rules for dimensions.

    Two vectors give their dot product. A vector on the left is a row, one on the right a column, and that
    axis is left out of the result. More than two dimensions are stacks of matrices, whose leading axes broadcast.

    Args:
        input: Of any dimension but 0.
        other: Likewise, of the same dtype.

    Raises:
        ShapeError: the sizes summed over differ, an operand is a scalar, or leading axes do not broadcast.
    """
    return product_of("matmul", input, other)


def product_of(name: str, a: Tensor, b: Tensor) -> Tensor:
    """The matrix product; see `matmul`."""
    check_tensor(name, a)
    check_tensor(name, b, "other")
    left, right = a._shape, b._shape
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
    if a._array.dtype != b._array.dtype:
        fail(
            DTypeError,
            f"{name}: dtypes {a.dtype.name} and {b.dtype.name} differ",
            "cast one to the other's dtype",
        )
    rows = left[-2:-1]
    columns = right[-1:] if len(right) > 1 else ()
    if len(left) == 2 == len(right):
        return ops.dot(a, b)
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
@under_autocast(LOWER)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices.

    Args:
        input: Shape ``(M, K)``.
        mat2: Shape ``(K, N)``, of the same dtype.

    Returns:
        Shape ``(M, N)``.
    """
    check_ndim("mm", input, (2,), "a matrix")
    check_ndim("mm", mat2, (2,), "a matrix", "mat2")
    return product_of("mm", input, mat2)


@tensor_method
@under_autocast(LOWER)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of two stacks of matrices.

    Args:
        input: Shape ``(B, M, K)``.
        mat2: Shape ``(B, K, N)``, of the same dtype.

    Returns:
        Shape ``(B, M, N)``.
    """
    check_stacks("bmm", input, mat2, "input", "mat2")
    return product_of("bmm", input, mat2)


def check_stacks(name: str, a: Tensor, b: Tensor, first: str, second: str) -> None:
    """Refuse what are not two stacks of as many matrices."""
    check_ndim(name, a, (3,), "a stack of matrices", first)
    check_ndim(name, b, (3,), "a stack of matrices", second)
    if a.shape[0] != b.shape[0]:
        fail(
            ShapeError,
            f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)} are stacks of different size "
            f"(axis 0: {a.shape[0]} vs {b.shape[0]})",
            "both hold the same number of matrices; matmul broadcasts",
        )


@tensor_method
@under_autocast(LOWER)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector.

    Args:
        input: Shape ``(M, K)``.
        vec: Shape ``(K,)``, of the same dtype.

    Returns:
        Shape ``(M,)``.
    """
    check_ndim("mv", input, (2,), "a matrix")
    check_ndim("mv", vec, (1,), "a vector", "vec")
    return product_of("mv", input, vec)


@tensor_method
@under_autocast(WIDEST)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The dot product of two vectors.

    Args:
        input: Shape ``(K,)``.
        tensor: Shape ``(K,)``, of the same dtype.

    Returns:
        A scalar.
    """
    check_ndim("dot", input, (1,), "a vector")
    check_ndim("dot", tensor, (1,), "a vector", "tensor")
    return product_of("dot", input, tensor)


@tensor_method
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The dot product of two vectors, the first conjugated."""
    check_ndim("vdot", input, (1,), "a vector")
    check_ndim("vdot", other, (1,), "a vector", "other")
    return product_of("vdot", conj(input), other)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """The dot products of vectors along an axis, the first conjugated; all other axes broadcast."""
    check_inexact("linalg.vecdot", x, "x")
    check_inexact("linalg.vecdot", y, "y")
    _check_dtypes("linalg.vecdot", x, y)
    product = ops.mul(conj(x), y)
    return ops.sum(product, axes=(one_axis("linalg.vecdot", dim, product.ndim),), keepdims=False)


@tensor_method
def inner(input: Tensor, other: Tensor) -> Tensor:
    """Products summed over the last axes of both; a scalar scales."""
    check_tensor("inner", input)
    check_tensor("inner", other, "other")
    if not input.ndim or not other.ndim:
        return ops.mul(input, other)
    return _contracted("inner", input, other, (input.ndim - 1,), (other.ndim - 1,))


@tensor_method
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """All products of an element of one vector and one of the other.

    Args:
        input: Shape ``(M,)``.
        vec2: Shape ``(N,)``.

    Returns:
        Shape ``(M, N)``.
    """
    check_ndim("outer", input, (1,), "a vector")
    check_ndim("outer", vec2, (1,), "a vector", "vec2")
    return ops.mul(reshaped(input, (input.shape[0], 1)), vec2)


@tensor_method
def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """`outer`, by an older name."""
    return outer(input, vec2)


# Products with something added -------------------------------------------------------------------------


@tensor_method(inplace=True)
@under_autocast(LOWER)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``; see `_added`."""
    return _added("addmm", input, mm(mat1, mat2), beta, alpha)


@tensor_method(inplace=True)
@under_autocast(LOWER)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * mat @ vec``; see `_added`."""
    return _added("addmv", input, mv(mat, vec), beta, alpha)


@tensor_method(inplace=True)
@under_autocast(LOWER)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * (batch1 @ batch2).sum(0)`` over stacks of matrices; see `_added`."""
    return _added("addbmm", input, _contracted_stacks("addbmm", batch1, batch2), beta, alpha)


@tensor_method(inplace=True)
@under_autocast(LOWER)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2`` over stacks of matrices; see `_added`."""
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@tensor_method(inplace=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta: Number = 1, alpha: Number = 1) -> Tensor:
    """``beta * input + alpha * outer(vec1, vec2)``, dtypes promoted; see `_added`.

    Raises:
        ArgumentError: ``beta`` or ``alpha`` is no integer, where the tensors are of integers.
    """
    check_tensor("addr", input)
    product = outer(vec1, vec2)
    common = result_type_of(input, product)
    for what, value in (("beta", beta), ("alpha", alpha)):
        if isinstance(value, (float, complex)) and not common.is_differentiable:
            fail(
                ArgumentError,
                f"addr: {what}={value} is no integer, the tensors are {common.name}",
                "give an integer, or cast the tensors to floats",
            )
    if common.kind == "b":  # factors are true or false, too
        beta, alpha = bool(beta), bool(alpha)
        return cast(_added("addr", cast(input, dt.int64), cast(product, dt.int64), beta, alpha), dt.bool_)
    return _added("addr", cast(input, common), cast(product, common), beta, alpha)


def _added(name: str, input: Tensor, product: Tensor, beta: Number, alpha: Number) -> Tensor:
    """``beta * input + alpha * product``.

    The input broadcasts to the product. With ``beta=0`` it is not looked at, so that its NaNs do not count. Of
    integers, the factors are rounded towards zero.

    Raises:
        DTypeError: the input has not the matrices' dtype.
        ShapeError: it does not broadcast to the product.
    """
    check_tensor(name, input)
    if input.dtype is not product.dtype:
        fail(
            DTypeError,
            f"{name}: input is {input.dtype.name}, what is multiplied {product.dtype.name}",
            "cast one to the other's dtype",
        )
    shape = tuple(product.shape)
    lead = len(shape) - input.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(input.shape, shape[lead:], strict=True)):
        fail(
            ShapeError,
            f"{name}: input of shape {tuple(input.shape)} does not broadcast to the product of shape {shape}",
            "give an input of the product's shape, or one that broadcasts to it",
        )
    if not product.dtype.is_differentiable:
        beta, alpha = _whole(name, "beta", beta), _whole(name, "alpha", alpha)
    scaled = product if alpha == 1 else ops.mul(product, alpha)
    if beta == 0:
        return scaled
    return ops.add(input if beta == 1 else ops.mul(input, beta), scaled)


def _whole(name: str, what: str, value: Number) -> int:
    if isinstance(value, complex):
        fail(ArgumentError, f"{name}: {what}={value} is complex, the tensors are integers", "give a real number")
    return converted(int, value)


# Several axes ------------------------------------------------------------------------------------------


@under_autocast(WIDEST)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] | Tensor = 2) -> Tensor:
    """Products summed over several axes: so many last of ``a`` and first of ``b``, or two lists of axes.

    An axis of size 1 that is summed with a longer one is repeated.

    Raises:
        ShapeError: axes to be summed together differ in size.
        ArgumentError: ``dims`` names more axes than there are, or the two lists differ in length.
    """
    check_tensor("tensordot", a, "a")
    check_tensor("tensordot", b, "b")
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            fail(
                ArgumentError,
                f"tensordot: dims={dims} for shapes {tuple(a.shape)} and {tuple(b.shape)}",
                "sum over no more axes than both have",
            )
        return _contracted("tensordot", a, b, tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims)), broadcast=True)
    if not isinstance(dims, (list, tuple)) or len(dims) != 2:
        fail(ArgumentError, f"tensordot: dims={dims} is neither a number nor two lists", "e.g. dims=([1], [0])")
    of_a, of_b = ((d,) if isinstance(d, int) else tuple(d) for d in dims)
    if len(of_a) != len(of_b):
        fail(ArgumentError, f"tensordot: dims={dims} names {len(of_a)} axes of a and {len(of_b)} of b", "pair them")
    over_a = tuple(one_axis("tensordot", d, a.ndim) for d in of_a)
    over_b = tuple(one_axis("tensordot", d, b.ndim) for d in of_b)
    if len(set(over_a)) != len(over_a) or len(set(over_b)) != len(over_b):
        fail(ArgumentError, f"tensordot: dims={dims} names an axis twice", "name each axis once")
    return _contracted("tensordot", a, b, over_a, over_b, broadcast=True)


def _check_dtypes(name: str, a: Tensor, b: Tensor) -> None:
    """Refuse operands of two dtypes."""
    if a.dtype is not b.dtype:
        fail(DTypeError, f"{name}: dtypes {a.dtype.name} and {b.dtype.name} differ", "cast one to the other's dtype")


def _contracted(name: str, a: Tensor, b: Tensor, over_a: Shape, over_b: Shape, broadcast: bool = False) -> Tensor:
    """Products summed over axes of both, as one matrix product."""
    _check_dtypes(name, a, b)
    for i, j in zip(over_a, over_b, strict=True):
        n, m = a.shape[i], b.shape[j]
        if n != m and not (broadcast and 1 in (n, m)):
            fail(
                ShapeError,
                f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)} do not contract "
                f"(axis {i} of the first: {n}, axis {j} of the second: {m})",
                "axes summed together have one size",
            )
        # Summed with copies of one element is the sum of the elements, times that one.
        if n != m and m == 1:
            a = cast(ops.sum(a, axes=(i,), keepdims=True), a.dtype)
        elif n != m:
            b = cast(ops.sum(b, axes=(j,), keepdims=True), b.dtype)
    kept_a = [i for i in range(a.ndim) if i not in over_a]
    kept_b = [i for i in range(b.ndim) if i not in over_b]
    count = math.prod(a.shape[i] for i in over_a)
    left, right = tuple(a.shape[i] for i in kept_a), tuple(b.shape[i] for i in kept_b)
    first = reshaped(ops.transpose(a, perm=(*kept_a, *over_a)), (math.prod(left), count))
    second = reshaped(ops.transpose(b, perm=(*over_b, *kept_b)), (count, math.prod(right)))
    return reshaped(ops.dot(first, second), left + right)


def _contracted_stacks(name: str, batch1: Tensor, batch2: Tensor) -> Tensor:
    """The sum of the products of two stacks: one product whose summed axis is (stack, K)."""
    check_stacks(name, batch1, batch2, "batch1", "batch2")
    return _contracted(name, batch1, batch2, (0, 2), (0, 1))


@tensor_method
def kron(input: Tensor, other: Tensor) -> Tensor:
    """The Kronecker product: for each element of the first, the second times it, side by side.

    With fewer axes, an operand gets axes of size 1 in front.
    """
    check_tensor("kron", input)
    check_tensor("kron", other, "other")
    ndim = max(input.ndim, other.ndim)
    outer_sizes = (1,) * (ndim - input.ndim) + tuple(input.shape)
    inner_sizes = (1,) * (ndim - other.ndim) + tuple(other.shape)
    a = reshaped(input, tuple(s for n in outer_sizes for s in (n, 1)))
    b = reshaped(other, tuple(s for n in inner_sizes for s in (1, n)))
    return reshaped(ops.mul(a, b), tuple(n * m for n, m in zip(outer_sizes, inner_sizes, strict=True)))


@tensor_method
@under_autocast(WIDEST)
def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """The cross products of vectors of three elements along an axis, by default the first one of size 3.

    Raises:
        ShapeError: no axis is named and none has size 3.
    """
    check_tensor("cross", input)
    if dim is None:
        dim = next((axis for axis, size in enumerate(input.shape) if size == 3), None)
        if dim is None:
            fail(ShapeError, f"cross: no dimension of size 3 in input of shape {tuple(input.shape)}", "name the axis")
    return _cross("cross", input, other, dim)


def linalg_cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """The cross products of vectors of three elements along an axis; all other axes broadcast."""
    return _cross("linalg.cross", input, other, dim)


def _cross(name: str, a: Tensor, b: Tensor, dim: int) -> Tensor:
    check_tensor(name, a)
    check_tensor(name, b, "other")
    _check_dtypes(name, a, b)
    if a.ndim != b.ndim:
        fail(
            ShapeError,
            f"{name}: shapes {tuple(a.shape)} and {tuple(b.shape)} have {a.ndim} and {b.ndim} dimensions",
            "give both the same number; unsqueeze() adds one",
        )
    axis = one_axis(name, dim, a.ndim)
    if not a.ndim or a.shape[axis] != 3 or b.shape[axis] != 3:
        fail(
            ShapeError,
            f"{name}: axis {dim} of shapes {tuple(a.shape)} and {tuple(b.shape)} must have size 3",
            "vectors have three elements",
        )

    def turned(x: Tensor, by: int) -> Tensor:
        return ops.concatenate(sliced(x, axis, by, 3), sliced(x, axis, 0, by), axis=axis)

    return ops.sub(ops.mul(turned(a, 1), turned(b, 2)), ops.mul(turned(a, 2), turned(b, 1)))
