"""Linear equations, inverses and the exponential of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.errors import ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample, not_differentiable
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.contraction import dot
from tracec.ops.contraction import swap_last as transposed
from tracec.ops.core import full_like
from tracec.ops.families import all_batched, check_same_dtype
from tracec.ops.linalg_arrays import exponential, first_of, one_by_one, order_of_pivots, refuse, solve_triangle
from tracec.ops.matrices import (
    adjoint,
    between,
    chain,
    check_matrices,
    conjugated,
    lower,
    upper,
)
from tracec.ops.view import concatenate

f64 = dt.float64


def _check_equations(a: TensorType, b: TensorType) -> None:
    check_matrices(a, square=True)
    check_same_dtype((a, b))
    if a.shape[:-1] != b.shape[:-1]:
        raise ShapeError(
            f"shapes {a.shape} and {b.shape} are no equations",
            hint="as many right-hand sides' rows as there are rows, and equal leading axes",
        )


# solve and inv -----------------------------------------------------------------------------------------


def _unless_singular(xp: Any, routine: Any, checked_by: str, a: Any, *others: Any) -> Any:
    """A routine that divides by a; where that is singular, NaN or, if someone checks, an error.

    NumPy refuses singular matrices. CuPy gives what is not finite, and looks no further.
    """
    try:
        found = routine(a, *others)
        if xp.__name__ == "numpy" or not checked_by or xp.isfinite(found).all():
            return found
        wrong = xp.linalg.det(a) == 0
    except np.linalg.LinAlgError:
        found = one_by_one(xp, routine, a, *others)
        wrong = xp.isnan(found).all(axis=(-2, -1)) & ~xp.isnan(a).any(axis=(-2, -1))
    if checked_by and wrong.any():
        refuse(
            checked_by,
            "the input matrix is singular",
            first_of(xp, wrong),
            "pinv and lstsq take singular matrices; adding to the diagonal makes it regular",
        )
    return found


def _solve_type(a: TensorType, b: TensorType, *, checked_by: str = "") -> TensorType:
    _check_equations(a, b)
    return b


def _solve_vjp(ct: Any, out: Any, a: Any, b: Any, *, checked_by: str) -> tuple[Any, ...]:
    of_b = solve(transposed(a), ct)
    return -dot(of_b, transposed(out)), of_b


def _solve_jvp(tangents: Any, out: Any, a: Any, b: Any, *, checked_by: str) -> Any:
    ta, tb = tangents
    if ta is None:
        return solve(a, tb)
    moved = -dot(ta, out)
    return solve(a, moved if tb is None else tb + moved)


solve: Operator = primitive(
    "solve",
    family="linalg",
    type_rule=_solve_type,
    eager=lambda xp, a, b, *, checked_by: _unless_singular(xp, xp.linalg.solve, checked_by, a, b),
    vjp=_solve_vjp,
    jvp=_solve_jvp,
    batch=lambda inputs, batched, size, **params: solve(*all_batched(inputs, batched, size), **params),
    lower=HostCall(),
    arity=2,
    doc="X of A X = B. A singular A gives NaN, or an error of the function that ``checked_by`` names.",
    samples=(
        Sample((Arg((2, 2), diagonal=3), Arg((2, 3)))),
        Sample((Arg((3, 3), dt.complex128, diagonal=3), Arg((3, 2), dt.complex128))),
        Sample((Arg((3, 5, 5), f64, diagonal=3), Arg((3, 5, 2), f64)), {"checked_by": "inv"}),
        Sample((Arg((1, 1), diagonal=4), Arg((1, 1)))),
        Sample((Arg((3, 3), f64, diagonal=3), Arg((3, 0), f64))),
        Sample((Arg((2, 0, 0)), Arg((2, 0, 3)))),
    ),
)


def _inv_type(a: TensorType, *, checked_by: str = "") -> TensorType:
    check_matrices(a, square=True)
    return a


inv: Operator = primitive(
    "inv",
    family="linalg",
    type_rule=_inv_type,
    eager=lambda xp, a, *, checked_by: _unless_singular(xp, xp.linalg.inv, checked_by, a),
    vjp=lambda ct, out, a, *, checked_by: (-chain(transposed(out), ct, transposed(out)),),
    jvp=lambda tangents, out, a, *, checked_by: -chain(out, tangents[0], out),
    batch=lambda inputs, batched, size, **params: inv(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The inverse. A singular matrix gives NaN, or an error of the function that ``checked_by`` names.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 3), dt.complex128, diagonal=3),)),
        Sample((Arg((3, 5, 5), f64, diagonal=3),), {"checked_by": "inv"}),
        Sample((Arg((1, 1), diagonal=4),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# Triangles ---------------------------------------------------------------------------------------------


def _triangular_type(
    a: TensorType, b: TensorType, *, upper: bool, unit: bool = False, checked_by: str = ""
) -> TensorType:
    _check_equations(a, b)
    return b


def _triangle(x: Any, is_upper: bool, unit: bool) -> Any:
    """The part that counts."""
    return upper(x, int(unit)) if is_upper else lower(x, -int(unit))


def _triangular_eager(xp: Any, a: Any, b: Any, *, upper: bool, unit: bool, checked_by: str) -> Any:
    if checked_by:
        wrong = xp.diagonal(a, axis1=-2, axis2=-1) == 0
        if wrong.any():
            *where, at = first_of(xp, wrong)
            refuse(checked_by, f"the diagonal element {at + 1} is zero", tuple(where), "the triangle has no inverse")
    return solve_triangle(xp, a, b, upper, unit)


def _triangular_vjp(ct: Any, out: Any, a: Any, b: Any, *, upper: bool, unit: bool, checked_by: str) -> tuple[Any, ...]:
    of_b = triangular_solve(transposed(a), ct, upper=not upper, unit=unit)
    return -_triangle(dot(of_b, transposed(out)), upper, unit), of_b


def _triangular_jvp(tangents: Any, out: Any, a: Any, b: Any, *, upper: bool, unit: bool, checked_by: str) -> Any:
    ta, tb = tangents
    if ta is None:
        return triangular_solve(a, tb, upper=upper, unit=unit)
    moved = -dot(_triangle(ta, upper, unit), out)
    return triangular_solve(a, moved if tb is None else tb + moved, upper=upper, unit=unit)


triangular_solve: Operator = primitive(
    "triangular_solve",
    family="linalg",
    type_rule=_triangular_type,
    eager=_triangular_eager,
    vjp=_triangular_vjp,
    jvp=_triangular_jvp,
    batch=lambda inputs, batched, size, **params: triangular_solve(*all_batched(inputs, batched, size), **params),
    lower=HostCall(),
    arity=2,
    doc="X of A X = B, where of A one triangle counts; with ``unit``, its diagonal counts as ones. A zero on the "
    "diagonal gives infinities, or an error of the function that ``checked_by`` names.",
    samples=(
        Sample((Arg((2, 2), diagonal=3), Arg((2, 3))), {"upper": True}),
        Sample((Arg((3, 3), dt.complex128, diagonal=3), Arg((3, 2), dt.complex128)), {"upper": True}),
        Sample((Arg((3, 5, 5), f64, diagonal=3), Arg((3, 5, 2), f64)), {"upper": False}),
        Sample((Arg((4, 4), f64, -1, 1), Arg((4, 2), f64)), {"upper": True, "unit": True}),
        Sample((Arg((4, 4), f64, -1, 1), Arg((4, 1), f64)), {"upper": False, "unit": True}),
        Sample((Arg((99, 99), f64, -0.1, 0.1, diagonal=3), Arg((99, 3), f64)), {"upper": False}),
        Sample((Arg((1, 1), diagonal=4), Arg((1, 1))), {"upper": True}),
        Sample((Arg((2, 0, 0)), Arg((2, 0, 3))), {"upper": True}),
    ),
)


# pinv --------------------------------------------------------------------------------------------------


def _pinv_type(a: TensorType, atol: TensorType, rtol: TensorType, *, hermitian: bool = False) -> TensorType:
    check_matrices(a, square=hermitian)
    check_same_dtype((a.with_dtype(a.dtype.to_real()), atol, rtol))
    if not a.shape[:-2] == atol.shape == rtol.shape:
        raise ShapeError(
            f"tolerances of shapes {atol.shape} and {rtol.shape} for matrices of shape {a.shape}",
            hint="one for each matrix",
        )
    return a.with_shape((*a.shape[:-2], a.shape[-1], a.shape[-2]))


def _pinv_eager(xp: Any, a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    if not a.size:
        return xp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = xp.linalg.eigh(a)
        vh, sizes = xp.conj(xp.swapaxes(u, -2, -1)), xp.abs(s)
    else:
        u, s, vh = xp.linalg.svd(a, full_matrices=False)
        sizes = s
    least = xp.maximum(atol, rtol * sizes.max(axis=-1))
    kept = sizes > least[..., None]
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0).astype(s.dtype)
    return xp.matmul(xp.conj(xp.swapaxes(vh, -2, -1)) * inverse[..., None, :], xp.conj(xp.swapaxes(u, -2, -1)))


def _pinv_jvp(tangents: Any, out: Any, a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> Any:
    # Golub, Pereyra, "The Differentiation of Pseudo-Inverses …", 1973, eq. 4.12, of constant rank.
    t, p = tangents[0], out
    if t is None:
        return full_like(out, 0)
    th, ph = adjoint(t), adjoint(p)
    left = chain(p, ph, th)
    right = chain(th, ph, p)
    return left - chain(left, a, p) + right - chain(p, a, right) - chain(p, t, p)


def _pinv_gradient(ct: Any, out: Any, a: Any, atol: Any, rtol: Any, *, hermitian: bool) -> tuple[Any, ...]:
    p, ph, cth = out, adjoint(out), adjoint(ct)
    left = chain(cth, p, ph)
    right = chain(ph, p, cth)
    return left - chain(a, p, left) + right - chain(right, p, a) - chain(ph, ct, ph), None, None


def _tolerances(*lead: int) -> tuple[Arg, Arg]:
    return Arg(lead, f64, 1e-9, 2e-9), Arg(lead, f64, 1e-9, 2e-9)


pinv: Operator = primitive(
    "pinv",
    family="linalg",
    type_rule=_pinv_type,
    eager=_pinv_eager,
    vjp=conjugated(_pinv_gradient),
    jvp=_pinv_jvp,
    batch=lambda inputs, batched, size, **params: pinv(*all_batched(inputs, batched, size), **params),
    lower=HostCall(),
    arity=3,
    promotion="none",
    doc="The pseudo-inverse; singular values up to ``atol``, or ``rtol`` times the largest, count as zero.",
    samples=(
        Sample((Arg((2, 2), diagonal=3), Arg((), low=0, high=1e-6), Arg((), low=0, high=1e-6))),
        Sample((Arg((3, 5, 2), f64), *_tolerances(3))),
        Sample((Arg((2, 4), f64), *_tolerances())),
        Sample((Arg((3, 3), f64, symmetric=True, diagonal=1), *_tolerances()), {"hermitian": True}),
        Sample((Arg((3, 2), dt.complex128), *_tolerances())),
        Sample((Arg((2, 0, 3), f64), *_tolerances(2))),
    ),
)


# The exponential ---------------------------------------------------------------------------------------


def _exponential_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a


def _moved_exponential(a: Any, t: Any) -> Any:
    """The derivative of the exponential at a along t.

    Source: Al-Mohy, Higham, "Computing the Fréchet Derivative of the Matrix Exponential", 2009, eq. 1.1.
    """
    n, axis = a.shape[-1], a.ndim
    top = concatenate(a, t, axis=axis - 1)
    bottom = concatenate(full_like(a, 0), a, axis=axis - 1)
    whole = matrix_exp(concatenate(top, bottom, axis=axis - 2))
    return between(between(whole, -2, 0, n), -1, n, 2 * n)


matrix_exp: Operator = primitive(
    "matrix_exp",
    family="linalg",
    type_rule=_exponential_type,
    eager=exponential,
    vjp=lambda ct, out, a: (_moved_exponential(transposed(a), ct),),
    jvp=lambda tangents, out, a: _moved_exponential(a, tangents[0]),
    batch=lambda inputs, batched, size: matrix_exp(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The exponential of matrices: the sum of their powers over factorials.",
    samples=(
        Sample((Arg((2, 2), low=-1, high=1),)),
        Sample((Arg((3, 3), dt.complex128),)),
        Sample((Arg((3, 3, 3), f64),)),
        Sample((Arg((4, 4), f64, -9, 9),)),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# Orders of rows ----------------------------------------------------------------------------------------


def _order_type(pivots: TensorType, *, rows: int) -> TensorType:
    if pivots.dtype.kind not in "iu" or not pivots.ndim:
        raise ShapeError(f"pivots of type {pivots} are no rows", hint="give what lu_factor gave")
    return TensorType(dt.int64, (*pivots.shape[:-1], rows), pivots.device)


order_of_rows: Operator = primitive(
    "order_of_rows",
    family="linalg",
    type_rule=_order_type,
    eager=lambda xp, pivots, *, rows: order_of_pivots(xp, pivots, rows),
    vjp=not_differentiable("positions do not change with small changes"),
    jvp=not_differentiable("positions do not change with small changes"),
    batch=lambda inputs, batched, size, *, rows: order_of_rows(inputs[0], rows=rows),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The order of rows after exchanging row i and row ``pivots[i] - 1``, one after the other.",
    samples=(
        Sample((Arg((3,), dt.int32, 1, 5),), {"rows": 4}),
        Sample((Arg((2, 3, 4), dt.int32, 1, 5),), {"rows": 4}),
        Sample((Arg((2, 0), dt.int32, 1, 5),), {"rows": 3}),
    ),
)
