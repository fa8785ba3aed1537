"""Inverses and determinants of matrices, and functions of them."""

from __future__ import annotations

import math
from typing import NamedTuple

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import (
    cast,
    check_inexact,
    check_tensor,
    expanded,
    fail,
    filled,
    identity,
    one_integer,
    reshaped,
    sliced,
)
from tracec.functions.decomposition import check_matrix
from tracec.functions.eigenvalues import svdvals
from tracec.functions.elimination import lu_info
from tracec.functions.linalg import matmul
from tracec.functions.norms import matrix_norm
from tracec.ir import dtype as dt
from tracec.ops import matrices
from tracec.ops.factorization import lu_shapes
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

Tolerance = float | Tensor | None


class InvEx(NamedTuple):
    """The inverse, and which element of U's diagonal in A = P L U is the first zero; 0 if none is."""

    inverse: Tensor
    info: Tensor


class Slogdet(NamedTuple):
    """The determinant's sign, and the logarithm of its absolute value."""

    sign: Tensor
    logabsdet: Tensor


# Inverses ----------------------------------------------------------------------------------------------


@tensor_method
@under_autocast(FLOAT32)
def inverse(input: Tensor) -> Tensor:
    """The inverse of square matrices, shape ``(..., n, n)``, float32, float64 or complex.

    Raises:
        LinAlgError: a matrix is singular.
    """
    return linalg_inv(input)


@under_autocast(FLOAT32)
def linalg_inv(A: Tensor) -> Tensor:
    """The inverse of square matrices; `inverse` by a newer name."""
    check_matrix("linalg.inv", A, square=True)
    return ops.inv(A, checked_by="linalg.inv")


def singularity(a: Tensor) -> Tensor:
    found, _, _ = matrices.unpack(ops.lu(a.detach()), lu_shapes(a))
    return lu_info(found)


@under_autocast(FLOAT32)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> InvEx:
    """As `linalg_inv`, but tells which matrices are singular, int32, and raises only with ``check_errors``."""
    name = "linalg.inv_ex"
    check_matrix(name, A, square=True)
    return InvEx(ops.inv(A, checked_by=name if check_errors else ""), singularity(A))


def resolution(x: Tensor) -> float:
    """The distance of 1 to the next larger number."""
    return 2.0**-52 if x.dtype.to_real().itemsize == 8 else 2.0**-23


def tolerance_like(value: float | Tensor, like: Tensor) -> Tensor:
    """A tolerance as a tensor: of real numbers as precise as those of ``like``, and with no gradient."""
    kind = like.dtype.to_real()
    return cast(value.detach(), kind) if isinstance(value, Tensor) else filled(value, like, (), kind)


def _tolerances(a: Tensor, atol: Tolerance, rtol: Tolerance) -> tuple[float | Tensor, float | Tensor]:
    """PyTorch's defaults: relative to the largest value, unless there is an absolute tolerance."""
    default = resolution(a) * max(a.shape[-2:])
    if atol is None:
        return 0.0, default if rtol is None else rtol
    if rtol is not None:
        return atol, rtol
    if isinstance(atol, Tensor):
        return atol, ops.where(ops.gt(atol.detach(), 0.0), 0.0, tolerance_like(default, a))
    return atol, 0.0 if atol > 0 else default


@under_autocast(FLOAT32)
def pinv(
    input: Tensor,
    rcond: Tolerance = None,
    hermitian: bool = False,
    *,
    atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Tensor:
    """The pseudo-inverse of matrices.

    Args:
        input: Shape ``(..., m, n)``, float32, float64 or complex.
        rcond: An older name of ``rtol``.
        hermitian: The matrices are Hermitian; their lower triangles are read.
        atol: Singular values up to this count as zero.
        rtol: So do those up to this times the largest; the dtype's resolution times the larger of m and n by
            default, 0 where there is ``atol``.

    Returns:
        Shape ``(..., n, m)``. The gradient is that along changes that keep the rank.

    Raises:
        ShapeError: there is not one tolerance for each matrix.

    Source: Golub, Pereyra, "The Differentiation of Pseudo-Inverses …", 1973.
    """
    name = "linalg.pinv"
    check_matrix(name, input, square=hermitian)
    absolute, relative = _tolerances(input, atol, rtol if rcond is None else rcond)
    lead = tuple(input.shape[:-2])
    bounds = [tolerance_like(t, input) for t in (absolute, relative)]
    for t in bounds:
        if t.ndim > len(lead) or any(n not in (1, m) for n, m in zip(reversed(t.shape), reversed(lead), strict=False)):
            fail(
                ShapeError,
                f"{name}: a tolerance of shape {tuple(t.shape)} for matrices of shape {tuple(input.shape)}",
                "one for each matrix",
            )
    return ops.pinv(input, *(expanded(t, lead) for t in bounds), hermitian=hermitian)


@tensor_method
@under_autocast(FLOAT32)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; singular values up to ``rcond`` times the largest count as zero. See `pinv`."""
    return pinv(input, rcond)


@under_autocast(FLOAT32)
def matrix_rank(
    input: Tensor,
    tol: Tolerance = None,
    hermitian: bool = False,
    *,
    atol: Tolerance = None,
    rtol: Tolerance = None,
) -> Tensor:
    """How many singular values of matrices are above a tolerance, int64.

    Args:
        input: Shape ``(..., m, n)``, float32, float64 or complex.
        tol: An older name of ``atol``.
        hermitian: The matrices are Hermitian; their lower triangles are read.
        atol: Absolute tolerance.
        rtol: Tolerance relative to the largest singular value; as in `pinv` by default.
    """
    name = "linalg.matrix_rank"
    check_matrix(name, input, square=hermitian)
    x = input.detach()
    s = ops.abs(ops.eigvalsh(x)) if hermitian else ops.svdvals(x)
    if tol is not None:
        return count_above(s, tolerance_like(tol, s))
    return count_above(s, rank_threshold(s, *_tolerances(input, atol, rtol)))


def rank_threshold(s: Tensor, atol: float | Tensor, rtol: float | Tensor) -> Tensor:
    """Up to where singular values count as zero: ``atol``, or ``rtol`` times the largest, whichever is more."""
    if not s.shape[-1]:
        return filled(0.0, s, tuple(s.shape[:-1]))
    largest = ops.max(s, axes=(s.ndim - 1,))
    return ops.maximum(tolerance_like(atol, s), ops.mul(largest, tolerance_like(rtol, s)))


def count_above(s: Tensor, least: Tensor) -> Tensor:
    """How many values along the last axis are above a threshold, int64."""
    above = ops.gt(s, reshaped(least, (*least.shape, 1)))
    return ops.sum(cast(above, dt.int64), axes=(above.ndim - 1,), keepdims=False)


@under_autocast(FLOAT32)
def cond(input: Tensor, p: float | str | None = None) -> Tensor:
    """The condition number of matrices: the norm of a matrix times that of its inverse.

    Args:
        input: Shape ``(..., n, n)``; for ``p`` of None, 2 or -2, which use singular values, ``(..., m, n)``.
        p: An order of `matrix_norm`; None for 2.

    Returns:
        Condition numbers, infinite for singular matrices.

    Raises:
        ArgumentError: ``p`` is no order.
        ShapeError: the matrices are not square, where their inverses are needed.
    """
    name = "linalg.cond"
    check_matrix(name, input)
    if p in (None, 2, -2):
        s = svdvals(input)
        if not s.shape[-1]:
            return filled(0.0, input, tuple(input.shape[:-2]), input.dtype.to_real())
        first, last = (reshaped(sliced(s, s.ndim - 1, k, k + 1), tuple(s.shape[:-1])) for k in (0, s.shape[-1] - 1))
        return ops.div(last, first) if p == -2 else ops.div(first, last)
    if p not in ("fro", "nuc", 1, -1, math.inf, -math.inf):
        fail(ArgumentError, f"{name}: got an invalid norm type: {p!r}", "use 'fro', 'nuc', inf, 1, 2, or a negative")
    check_matrix(name, input, square=True)
    if not input.shape[-1]:
        return filled(0.0, input, tuple(input.shape[:-2]), input.dtype.to_real())
    found = inv_ex(input)
    bad = ops.gt(found.info, 0)
    inverse = ops.where(matrices.spread(bad), 0.0, found.inverse)
    return ops.where(bad, math.inf, ops.mul(matrix_norm(input, p), matrix_norm(inverse, p)))


# Determinants ------------------------------------------------------------------------------------------


@tensor_method
@under_autocast(FLOAT32)
def det(input: Tensor) -> Tensor:
    """The determinant of square matrices, shape ``(..., n, n)``, with a gradient at singular ones too."""
    check_matrix("linalg.det", input, square=True)
    return ops.det(input)


@under_autocast(FLOAT32)
def linalg_det(A: Tensor) -> Tensor:
    """`det`, by a newer name."""
    return det(A)


@tensor_method
@under_autocast(FLOAT32)
def slogdet(input: Tensor) -> Slogdet:
    """The sign of the determinant, and the logarithm of its absolute value: ``(0, -inf)`` for singular matrices."""
    check_matrix("linalg.slogdet", input, square=True)
    sign, logarithm = matrices.unpack(ops.slogdet(input), ((), ()))
    return Slogdet(sign, matrices.real_part(logarithm))


@under_autocast(FLOAT32)
def linalg_slogdet(A: Tensor) -> Slogdet:
    """`slogdet`, by a newer name."""
    return slogdet(A)


@tensor_method
@under_autocast(FLOAT32)
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where that is real and negative."""
    check_matrix("logdet", input, "input", square=True)
    sign, logarithm = slogdet(input)
    if input.dtype.is_complex:
        return ops.add(logarithm, ops.log(sign))
    return ops.where(ops.lt(sign, 0.0), math.nan, logarithm)


# Functions of matrices ---------------------------------------------------------------------------------


@tensor_method
def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of square matrices, shape ``(..., n, n)``; 16-bit floats are computed in float32."""
    check_inexact("linalg.matrix_exp", input)
    wide = cast(input, input.dtype.compute)
    check_matrix("linalg.matrix_exp", wide, square=True)
    return cast(ops.matrix_exp(wide), input.dtype)


@tensor_method
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The n-th power of square matrices, by repeated squaring; negative powers are those of the inverse.

    Raises:
        LinAlgError: n is negative, and a matrix is singular.
    """
    name = "linalg.matrix_power"
    check_tensor(name, input, "A")
    if isinstance(n, bool) or not isinstance(n, int):
        fail(ArgumentTypeError, f"{name}: n must be int, not {type(n).__name__}", "give an integer")
    if input.ndim < 2 or input.shape[-1] != input.shape[-2]:
        fail(ShapeError, f"{name}: A of shape {tuple(input.shape)} holds no square matrices", "make them square")
    if n == 0:
        # A choice that always falls on the one side ties the result to the input: its gradient is zero, not absent.
        return ops.where(filled(True, input, (), dt.bool_), identity(input), input)
    if n == 1:
        return input.clone()
    square, result = linalg_inv(input) if n < 0 else input, None
    left = abs(n)
    while left:
        if left & 1:
            result = square if result is None else matmul(result, square)
        left >>= 1
        if left:
            square = matmul(square, square)
    assert result is not None
    return result


@under_autocast(FLOAT32)
def tensorinv(input: Tensor, ind: int = 2) -> Tensor:
    """The inverse of a map from a tensor's axes from ``ind`` on to those before.

    Raises:
        ShapeError: the axes before and from ``ind`` on have not the same number of elements.
        LinAlgError: the map is singular.
    """
    name = "linalg.tensorinv"
    check_tensor(name, input, "A")
    ind = one_integer(name, ind, "ind")
    if not 0 < ind <= input.ndim:
        fail(
            ArgumentError,
            f"{name}: ind={ind} for a tensor of {input.ndim} dimensions: Expected a strictly positive integer, no more",
            "the axes before it are the result's last ones",
        )
    before, after = tuple(input.shape[:ind]), tuple(input.shape[ind:])
    rows = equal_counts(name, input, before, after)
    return reshaped(linalg_inv(reshaped(input, (rows, rows))), (*after, *before))


def equal_counts(name: str, a: Tensor, before: tuple[int, ...], after: tuple[int, ...]) -> int:
    rows = math.prod(before)
    if rows != math.prod(after):
        fail(
            ShapeError,
            f"{name}: axes {before} and {after} of shape {tuple(a.shape)} hold {rows} and {math.prod(after)} elements",
            "both sides have the same number of elements",
        )
    return rows
