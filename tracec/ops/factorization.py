"""Factors of matrices: Cholesky, QR and LU."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import Shape, TensorType
from tracec.ops.base import primitive
from tracec.ops.contraction import dot
from tracec.ops.contraction import swap_last as transposed
from tracec.ops.core import full_like
from tracec.ops.elementwise import cast
from tracec.ops.equations import triangular_solve
from tracec.ops.indexing import iota
from tracec.ops.linalg_arrays import factor_lu, first_of, one_by_one, refuse
from tracec.ops.logic import eq
from tracec.ops.matrices import (
    adjoint,
    as_column,
    between,
    check_matrices,
    conjugated,
    diagonal_matrix,
    diagonal_of,
    imaginary,
    lower,
    mirrored,
    pack,
    pack_arrays,
    packed_type,
    real_part,
    unpack,
    upper,
)
from tracec.ops.view import concatenate

f64 = dt.float64


def _solve_right(triangle: Any, x: Any, is_upper: bool) -> Any:
    """``x triangle⁻ᴴ``."""
    return adjoint(triangular_solve(triangle, adjoint(x), upper=is_upper))


# Cholesky ----------------------------------------------------------------------------------------------


def _cholesky_type(a: TensorType, *, checked_by: str = "") -> TensorType:
    check_matrices(a, square=True)
    return a


def _cholesky_eager(xp: Any, a: Any, *, checked_by: str) -> Any:
    try:
        found = xp.linalg.cholesky(a)
        if xp.__name__ == "numpy" or not checked_by:
            return found
    except np.linalg.LinAlgError:
        found = one_by_one(xp, _partial_cholesky(xp), a)
    if not checked_by:
        return found
    wrong = ~(xp.diagonal(found, axis1=-2, axis2=-1).real > 0)
    if wrong.any():
        *where, order = first_of(xp, wrong)
        refuse(
            checked_by,
            "the factorization could not be completed because the input is not positive-definite "
            f"(the leading minor of order {order + 1} is not positive-definite)",
            tuple(where),
            "adding to the diagonal may make it so; cholesky_ex tells instead of raising",
        )
    return found


def _partial_cholesky(xp: Any) -> Any:
    """The factor column by column; from the first minor on that is not positive-definite, NaN."""

    def factor(a: Any) -> Any:
        n = a.shape[0]
        found = xp.zeros_like(a)
        for j in range(n):
            column = a[j:, j] - found[j:, :j] @ xp.conj(found[j, :j])
            if not column[0].real > 0:
                return xp.tril(xp.concatenate([found[:, :j], xp.full_like(a[:, j:], np.nan)], axis=1))
            found[j:, j] = column / xp.sqrt(column[0].real)
        return found

    return factor


def _cholesky_gradient(ct: Any, out: Any, a: Any, *, checked_by: str) -> tuple[Any, ...]:
    # Murray, "Differentiation of the Cholesky decomposition", 2016, eq. 10, made symmetric.
    half = mirrored(dot(adjoint(out), ct)) * 0.5
    turned = adjoint(out)
    left = triangular_solve(turned, half, upper=True)
    return (adjoint(triangular_solve(turned, adjoint(left), upper=True)),)


def _cholesky_jvp(tangents: Any, out: Any, a: Any, *, checked_by: str) -> Any:
    inside = _solve_right(out, triangular_solve(out, tangents[0], upper=False), is_upper=False)
    return dot(out, lower(inside) - diagonal_matrix(diagonal_of(inside)) * 0.5)


cholesky: Operator = primitive(
    "cholesky",
    family="linalg",
    type_rule=_cholesky_type,
    eager=_cholesky_eager,
    vjp=conjugated(_cholesky_gradient),
    jvp=_cholesky_jvp,
    batch=lambda inputs, batched, size, **params: cholesky(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The lower triangle L with L Lᴴ = A, of which the lower triangle is read. Where A is not positive-definite, "
    "L's diagonal is not positive from there on, or it is an error of the function that ``checked_by`` names.",
    samples=(
        Sample((Arg((2, 2), diagonal=5, symmetric=True),)),
        Sample((Arg((3, 4, 4), f64, diagonal=7, symmetric=True),), {"checked_by": "cholesky"}),
        Sample((Arg((3, 3), dt.complex128, diagonal=7, symmetric=True),)),
        Sample((Arg((1, 1), diagonal=3, symmetric=True),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# QR ----------------------------------------------------------------------------------------------------


def _qr_shapes(a: Any) -> tuple[Shape, Shape]:
    m, n = a.shape[-2:]
    return (m, n), (n, n)


def _qr_type(a: TensorType) -> TensorType:
    check_matrices(a)
    if a.shape[-2] < a.shape[-1]:
        raise ShapeError(f"shape {a.shape} has more columns than rows", hint="factor the first columns alone")
    return packed_type(a, _qr_shapes(a))


def _qr_gradient(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    # Roberts, Roberts, "QR and LQ Decomposition Matrix Backpropagation Algorithms …", 2020, eq. 7.
    q, r = unpack(out, _qr_shapes(a))
    of_q, of_r = unpack(ct, _qr_shapes(a))
    m = dot(r, adjoint(of_r)) - dot(adjoint(of_q), q)
    return (_solve_right(r, of_q + dot(q, mirrored(m)), is_upper=True),)


def _qr_jvp(tangents: Any, out: Any, a: Any) -> Any:
    q, r = unpack(out, _qr_shapes(a))
    moved = adjoint(triangular_solve(adjoint(r), adjoint(tangents[0]), upper=False))
    inside = dot(adjoint(q), moved)
    turn = lower(inside, -1) - adjoint(lower(inside, -1))
    if a.dtype.is_complex:
        turn = turn + diagonal_matrix(imaginary(diagonal_of(inside)))  # R's diagonal stays real
    moved_r = dot(upper(inside - turn), r)
    return pack([moved + dot(q, turn - inside), moved_r], a.shape[:-2])


qr: Operator = primitive(
    "qr",
    family="linalg",
    type_rule=_qr_type,
    eager=lambda xp, a: pack_arrays(xp, xp.linalg.qr(a), a.shape[:-2]),
    vjp=conjugated(_qr_gradient),
    jvp=_qr_jvp,
    batch=lambda inputs, batched, size: qr(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Q with orthonormal columns and an upper triangle R with Q R = A, packed; A has no more columns than rows.",
    samples=(
        Sample((Arg((1, 1), low=1),)),
        Sample((Arg((3, 5, 2), f64),)),
        Sample((Arg((4, 4), f64),)),
        Sample((Arg((4, 3), dt.complex128),)),
        Sample((Arg((2, 3, 0)),)),
    ),
)


def _full_qr_shapes(a: Any) -> tuple[Shape, Shape]:
    m, n = a.shape[-2:]
    return (m, m), (m, n)


def _full_qr_type(a: TensorType) -> TensorType:
    check_matrices(a)
    return packed_type(a, _full_qr_shapes(a))


full_qr: Operator = primitive(
    "full_qr",
    family="linalg",
    type_rule=_full_qr_type,
    eager=lambda xp, a: pack_arrays(xp, xp.linalg.qr(a, mode="complete"), a.shape[:-2]),
    vjp=not_differentiable("the columns of Q beyond those of the matrix are any basis of what is left"),
    jvp=not_differentiable("the columns of Q beyond those of the matrix are any basis of what is left"),
    batch=lambda inputs, batched, size: full_qr(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="A square orthogonal Q, and R of A's shape, with Q R = A, packed.",
    samples=(Sample((Arg((4, 2)),)), Sample((Arg((2, 3, 5), f64),)), Sample((Arg((2, 3, 0)),))),
)


def _geqrf_shapes(a: Any) -> tuple[Shape, Shape]:
    m, n = a.shape[-2:]
    return (m, n), (min(m, n),)


def _geqrf_type(a: TensorType) -> TensorType:
    check_matrices(a)
    return packed_type(a, _geqrf_shapes(a))


def _geqrf_eager(xp: Any, a: Any) -> Any:
    turned, tau = xp.linalg.qr(a, mode="raw")
    return pack_arrays(xp, (xp.swapaxes(turned, -2, -1), tau), a.shape[:-2])


geqrf: Operator = primitive(
    "geqrf",
    family="linalg",
    type_rule=_geqrf_type,
    eager=_geqrf_eager,
    vjp=not_differentiable("LAPACK's form of QR; differentiate linalg.qr"),
    jvp=not_differentiable("LAPACK's form of QR; differentiate linalg.qr"),
    batch=lambda inputs, batched, size: geqrf(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="R with Householder's vectors below its diagonal, and their factors, packed: LAPACK's form of QR.",
    samples=(Sample((Arg((4, 2)),)), Sample((Arg((2, 3, 5), f64),)), Sample((Arg((2, 3, 0)),))),
)


# LU ----------------------------------------------------------------------------------------------------


def lu_shapes(a: Any) -> tuple[Shape, Shape, Shape]:
    """Shapes of L and U in one, of the pivots and of the order of rows."""
    m, n = a.shape[-2:]
    return (m, n), (min(m, n),), (m,)


def _lu_type(a: TensorType, *, pivot: bool = True, checked_by: str = "") -> TensorType:
    check_matrices(a)
    return packed_type(a, lu_shapes(a))


def _lu_eager(xp: Any, a: Any, *, pivot: bool, checked_by: str) -> Any:
    found, pivots, order = factor_lu(xp, a, pivot)
    wrong = xp.diagonal(found, axis1=-2, axis2=-1) == 0
    if checked_by and wrong.any():
        *where, at = first_of(xp, wrong)
        refuse(
            checked_by,
            f"U[{at + 1},{at + 1}] is zero, and using it to solve would divide by it",
            tuple(where),
            "linalg.lu and linalg.lu_factor_ex factor without solving",
        )
    return pack_arrays(xp, (found, pivots.astype(a.dtype), order.astype(a.dtype)), a.shape[:-2])


def permutation(order: Any, dtype: Any) -> Any:
    """The matrix that puts rows into this order."""
    order = real_part(order)
    rows = iota(shape=(order.shape[-1],), axis=0, dtype=order.dtype, device=str(order.device))
    return cast(eq(as_column(order), rows), dtype=dtype)


def _solve_right_plain(triangle: Any, x: Any, is_upper: bool) -> Any:
    """``x triangle⁻ᵀ``."""
    return transposed(triangular_solve(triangle, transposed(x), upper=is_upper))


def _blocks(lu: Any) -> tuple[Any, Any, Any]:
    """The square part of L and U in one; what of U is right of it; what of L is below. None where there is nothing."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    square = between(between(lu, -2, 0, k), -1, 0, k)
    return square, between(lu, -1, k, n) if n > k else None, between(lu, -2, k, m) if m > k else None


def _lu_vjp(ct: Any, out: Any, a: Any, *, pivot: bool, checked_by: str) -> tuple[Any, ...]:
    # L and U of a square matrix: Giles' rules for products and inverses, split into triangles. A part right of it is
    # L⁻¹ times that part of A, one below is that part of A times U⁻¹.
    lu, _, order = unpack(out, lu_shapes(a))
    square, right, below = _blocks(lu)
    of_square, of_right, of_below = _blocks(unpack(ct, lu_shapes(a))[0])
    of_l, of_u = lower(of_square, -1), upper(of_square)
    l_turned, rest = transposed(square), None
    if right is not None:
        rest = triangular_solve(l_turned, of_right, upper=True, unit=True)
        of_l = of_l - lower(dot(rest, transposed(right)), -1)
    if below is not None:
        rest = _solve_right_plain(square, of_below, is_upper=True)
        of_u = of_u - upper(dot(transposed(below), rest))
    inside = lower(_times_unit(square, of_l), -1) + upper(dot(of_u, transposed(upper(square))))
    found = _solve_right_plain(square, triangular_solve(l_turned, inside, upper=True, unit=True), is_upper=True)
    if rest is not None:
        found = concatenate(found, rest, axis=a.ndim - (1 if right is not None else 2))
    return (dot(transposed(permutation(order, a.dtype)), found),)


def _times_unit(square: Any, x: Any) -> Any:
    """``Lᵀ x``, where L has ones on its diagonal."""
    return x + dot(transposed(lower(square, -1)), x)


def _lu_jvp(tangents: Any, out: Any, a: Any, *, pivot: bool, checked_by: str) -> Any:
    lu, pivots, order = unpack(out, lu_shapes(a))
    square, right, below = _blocks(lu)
    t_square, t_right, t_below = _blocks(dot(permutation(order, a.dtype), tangents[0]))
    left = triangular_solve(square, t_square, upper=False, unit=True)
    inside = transposed(triangular_solve(transposed(square), transposed(left), upper=False))
    moved_l = lower(inside, -1) + dot(lower(square, -1), lower(inside, -1))
    moved_u = dot(upper(inside), upper(square))
    moved = moved_l + moved_u
    if right is not None:
        rest = triangular_solve(square, t_right - dot(moved_l, right), upper=False, unit=True)
        moved = concatenate(moved, rest, axis=a.ndim - 1)
    if below is not None:
        off = t_below - dot(below, moved_u)
        rest = transposed(triangular_solve(transposed(square), transposed(off), upper=False))
        moved = concatenate(moved, rest, axis=a.ndim - 2)
    return pack([moved, full_like(pivots, 0), full_like(order, 0)], a.shape[:-2])


lu: Operator = primitive(
    "lu",
    family="linalg",
    type_rule=_lu_type,
    eager=_lu_eager,
    vjp=_lu_vjp,
    jvp=_lu_jvp,
    batch=lambda inputs, batched, size, **params: lu(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="L, whose diagonal is ones, below U in one matrix, the pivots from 1 on, and the order of rows, packed. A "
    "zero on U's diagonal stays, or is an error of the function that ``checked_by`` names.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 4, 4), f64),)),
        Sample((Arg((5, 3), f64),)),
        Sample((Arg((3, 3), dt.complex128),)),
        Sample((Arg((2, 2, 4), f64),)),
        Sample((Arg((3, 3), f64, diagonal=3),), {"pivot": False}),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 3)),)),
    ),
)
