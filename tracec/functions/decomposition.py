"""Factors of matrices: Cholesky and QR, under PyTorch's older and newer names."""

from __future__ import annotations

from typing import NamedTuple

from tracec import ops
from tracec.errors import DTypeError, ShapeError
from tracec.functions.common import (
    broadcast_matrices,
    cast,
    check_choice,
    check_inexact,
    check_tensor,
    expanded,
    fail,
    filled,
    identity,
    reshaped,
    sliced,
)
from tracec.functions.diagonals import diagonal, tril, triu
from tracec.functions.linalg import matmul
from tracec.ir import dtype as dt
from tracec.ops import matrices
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


class CholeskyEx(NamedTuple):
    """The factor, and the order of the first leading minor that is not positive-definite; 0 if all are."""

    L: Tensor
    info: Tensor


class QR(NamedTuple):
    """A matrix with orthonormal columns, and an upper triangle."""

    Q: Tensor
    R: Tensor


class Geqrf(NamedTuple):
    """R with Householder's vectors below its diagonal, and their factors."""

    a: Tensor
    tau: Tensor


def check_matrix(name: str, x: Tensor, what: str = "A", square: bool = False) -> None:
    """Refuse what is no stack of matrices of float32, float64 or complex numbers.

    Raises:
        DTypeError: the elements are integers, or 16-bit floats, for which there are no routines.
        ShapeError: there are fewer than two axes, or the matrices should be square and are not.
    """
    check_inexact(name, x, what)
    if x.dtype.itemsize == 2:
        fail(DTypeError, f"{name}: low precision dtypes are not supported, {what} is {x.dtype.name}", "cast it first")
    if x.ndim < 2:
        fail(ShapeError, f"{name}: {what} of shape {tuple(x.shape)} is no matrix", "give at least 2 dimensions")
    if square and x.shape[-1] != x.shape[-2]:
        fail(
            ShapeError,
            f"{name}: {what} must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} matrices",
            "lstsq and pinv take others",
        )


def check_same_dtype(name: str, a: Tensor, b: Tensor, first: str, second: str) -> None:
    """Refuse operands of two dtypes."""
    check_tensor(name, b, second)
    if a.dtype is not b.dtype:
        fail(
            DTypeError,
            f"{name}: {first} is {a.dtype.name}, {second} is {b.dtype.name}",
            "cast one to the other's dtype",
        )


# Cholesky ----------------------------------------------------------------------------------------------


@tensor_method
@under_autocast(FLOAT32)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The triangle L with ``L @ L.mH`` the input, or with ``upper`` U with ``U.mH @ U``; see `linalg_cholesky`."""
    return _cholesky("cholesky", input, upper, checked_by="cholesky")


@under_autocast(FLOAT32)
def linalg_cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The triangle L with ``L @ L.mH == input``, or with ``upper`` U with ``U.mH @ U == input``.

    Args:
        input: Hermitian positive-definite, shape ``(..., n, n)``, float32, float64 or complex. One triangle is read,
            the lower one unless ``upper``; the gradient is that along Hermitian changes.
        upper: Which triangle.

    Raises:
        LinAlgError: a matrix is not positive-definite.
    """
    return _cholesky("linalg.cholesky", input, upper, checked_by="linalg.cholesky")


@under_autocast(FLOAT32)
def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """As `linalg_cholesky`, but tells which matrices are not positive-definite.

    Returns:
        The factors, NaN from where a matrix is not positive-definite, and for each matrix the order of the first
        leading minor that is not, int32; 0 if all are.

    Raises:
        LinAlgError: a matrix is not positive-definite, and ``check_errors`` is set.
    """
    name = "linalg.cholesky_ex"
    found = _cholesky(name, input, upper, checked_by=name if check_errors else "")
    positive = ops.gt(matrices.real_part(diagonal(found.detach(), 0, -2, -1)), 0.0)
    return CholeskyEx(found, first_of(ops.logical_not(positive)))


def _cholesky(name: str, a: Tensor, upper: bool, checked_by: str) -> Tensor:
    check_matrix(name, a, square=True)
    found: Tensor = ops.cholesky(a.mH if upper else a, checked_by=checked_by)
    return found.mH if upper else found


def first_of(found: Tensor) -> Tensor:
    """Where the first true element stands along the last axis, counted from 1; 0 where none is. int32."""
    n = found.shape[-1]
    if not n:
        return filled(0, found, tuple(found.shape[:-1]), dt.int32)
    axis = found.ndim - 1
    at = ops.argmax(cast(found, dt.int32), axis=axis, keepdims=False)
    some = ops.max(cast(found, dt.int32), axes=(axis,))
    return cast(ops.mul(ops.add(at, 1), some), dt.int32)


@tensor_method
@under_autocast(FLOAT32)
def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose Cholesky factor is given.

    Raises:
        LinAlgError: the factor has a zero on its diagonal.
    """
    name = "cholesky_inverse"
    check_matrix(name, input, "input", square=True)
    one = identity(input)
    half = ops.triangular_solve(input, one, upper=upper, checked_by=name)
    return matmul(half, half.mH) if upper else matmul(half.mH, half)


@tensor_method
@under_autocast(FLOAT32)
def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """X with ``A @ X == input``, where A is the matrix whose Cholesky factor is ``input2``; leading axes broadcast."""
    name = "cholesky_solve"
    check_matrix(name, input, "input")
    check_matrix(name, input2, "input2", square=True)
    check_same_dtype(name, input, input2, "input", "input2")
    factor, b = broadcast_matrices(name, input2, input)
    first, second = (factor.mH, factor) if upper else (factor, factor.mH)
    return ops.triangular_solve(second, ops.triangular_solve(first, b, upper=False), upper=True)


# QR ----------------------------------------------------------------------------------------------------


@tensor_method
@under_autocast(FLOAT32)
def qr(input: Tensor, some: bool = True) -> QR:
    """`linalg_qr`; ``some=False`` is its ``mode="complete"``."""
    return _qr("qr", input, "reduced" if some else "complete")


@under_autocast(FLOAT32)
def linalg_qr(A: Tensor, mode: str = "reduced") -> QR:
    """Q with orthonormal columns, and an upper triangle R, with ``Q @ R == A``.

    Args:
        A: Shape ``(..., m, n)``, float32, float64 or complex.
        mode: ``reduced``: Q is m by k and R k by n, k the smaller of m and n. ``complete``: Q is m by m and R m by n;
            it has no gradient where m > n. ``r``: Q is empty.
    """
    check_choice("linalg.qr", "mode", mode, ("reduced", "complete", "r"))
    return _qr("linalg.qr", A, mode)


def _qr(name: str, a: Tensor, mode: str) -> QR:
    check_matrix(name, a)
    m, n = a.shape[-2:]
    if mode == "complete" and m > n:
        q, r = matrices.unpack(ops.full_qr(a), ((m, m), (m, n)))
        return QR(q, r)
    # The columns beyond the first m have no part in Q.
    square = sliced(a, a.ndim - 1, 0, min(m, n))
    q, r = matrices.unpack(ops.qr(square), ((m, min(m, n)), (min(m, n), min(m, n))))
    if n > m:
        r = ops.concatenate(r, matmul(q.mH, sliced(a, a.ndim - 1, m, n)), axis=a.ndim - 1)
    return QR(filled(0.0, a, (0,)) if mode == "r" else q, r)


@tensor_method
@under_autocast(FLOAT32)
def geqrf(input: Tensor) -> Geqrf:
    """QR in LAPACK's form, which `householder_product` and `ormqr` take; it has no gradient."""
    check_matrix("geqrf", input, "input")
    m, n = input.shape[-2:]
    return Geqrf(*matrices.unpack(ops.geqrf(input), ((m, n), (min(m, n),))))


@under_autocast(FLOAT32)
def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of Householder's reflections ``I - tau[i] v[i] v[i]ᴴ``.

    Args:
        input: Shape ``(..., m, n)``, m no less than n; v[i] is column i below the diagonal, with 1 on it and 0 above.
        tau: Shape ``(..., k)``, k no more than n.
    """
    name = "linalg.householder_product"
    _check_reflections(name, input, tau)
    return sliced(
        _reflected(input, tau, identity(input, input.shape[-2]), transpose=False), input.ndim - 1, 0, input.shape[-1]
    )


@tensor_method
@under_autocast(FLOAT32)
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """`householder_product`, by LAPACK's name."""
    return householder_product(input, input2)


@tensor_method
@under_autocast(FLOAT32)
def ormqr(input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """The product of Householder's reflections, as of `geqrf`, times ``input3``, or that times the product.

    Args:
        input: Shape ``(..., m, k)``: the reflections' vectors below the diagonal.
        input2: Their factors, shape ``(..., k)``.
        input3: Shape ``(..., m, n)``, or ``(..., n, m)`` where not ``left``.
        left: Whether the product stands on the left.
        transpose: Transpose the product.

    Raises:
        ShapeError: there is not one factor for each reflection, or the shapes do not go together.
    """
    name = "ormqr"
    _check_reflections(name, input, input2)
    check_matrix(name, input3, "input3")
    check_same_dtype(name, input, input3, "input", "input3")
    other = input3 if left else input3.mH
    if input2.shape[-1] != min(other.shape[-2], input.shape[-1]):
        fail(
            ShapeError,
            f"{name}: {input2.shape[-1]} factors for input {tuple(input.shape)} and input3 {tuple(input3.shape)}",
            "one factor for each reflection",
        )
    if other.shape[-2] != input.shape[-2] or other.shape[:-2] != input.shape[:-2]:
        fail(
            ShapeError,
            f"{name}: input of shape {tuple(input.shape)} and input3 of shape {tuple(input3.shape)}, left={left}",
            "the side of input3 that is multiplied has as many rows as input, and the leading axes are equal",
        )
    found = _reflected(input, input2, other, transpose if left else not transpose)
    return found if left else found.mH


def _check_reflections(name: str, a: Tensor, tau: Tensor) -> None:
    check_matrix(name, a, "input")
    check_same_dtype(name, a, tau, "input", "tau")
    m, n = a.shape[-2:]
    if m < n and name != "ormqr":
        fail(ShapeError, f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]", "it is tall")
    if not tau.ndim or tau.shape[-1] > n or tau.shape[:-1] != a.shape[:-2]:
        fail(
            ShapeError,
            f"{name}: tau of shape {tuple(tau.shape)} for input of shape {tuple(a.shape)}",
            "one factor for each column, or for fewer, and the leading axes are equal",
        )


def _reflected(a: Tensor, tau: Tensor, x: Tensor, transpose: bool) -> Tensor:
    """The product of reflections times x: ``x - V T Vᴴ x``, with T as a triangular inverse.

    Source: Joffrain et al., "Accumulating Householder Transformations, Revisited", 2006, section 3.
    """
    k = tau.shape[-1]
    low = tril(sliced(a, a.ndim - 1, 0, k), -1)
    v = ops.add(low, expanded(wide_identity(low), tuple(low.shape)))
    factor = reshaped(tau, (*tau.shape, 1))
    inside = ops.mul(factor, triu(matmul(v.mH, v), 1))
    scale = matrices.diagonal_matrix(matrices.conjugate(tau) if transpose else tau)
    if transpose:
        # Tᴴ = Dᴴ (I + D S)⁻ᴴ
        seen = ops.triangular_solve(inside.mH, matmul(v.mH, x), upper=False, unit=True)
        return ops.sub(x, matmul(v, matmul(scale, seen)))
    seen = ops.triangular_solve(inside, matmul(scale, matmul(v.mH, x)), upper=True, unit=True)
    return ops.sub(x, matmul(v, seen))


def wide_identity(x: Tensor) -> Tensor:
    m, k = x.shape[-2:]
    one = identity(filled(0.0, x, (min(m, k), min(m, k))))
    return ops.pad(one, low=(0, 0), high=(m - min(m, k), k - min(m, k)), value=0.0)
