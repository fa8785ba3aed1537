"""Eigenvalues of symmetric matrices, and singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import Shape, TensorType
from tracec.ops.base import primitive
from tracec.ops.contraction import dot
from tracec.ops.contraction import swap_last as adjoint
from tracec.ops.linalg_arrays import first_of, refuse
from tracec.ops.matrices import (
    as_column,
    as_row,
    between,
    chain,
    check_matrices,
    diagonal_matrix,
    diagonal_of,
    differences,
    pack,
    pack_arrays,
    packed_type,
    reciprocal_or_zero,
    unpack,
)
from tracec.ops.view import concatenate

f64 = dt.float64


# Eigenvalues of symmetric matrices ---------------------------------------------------------------------


def _converged(xp: Any, routine: Any, name: str, a: Any) -> Any:
    """A routine of a, or an error where it does not come to an end, as of what is not finite."""
    try:
        return routine(a)
    except np.linalg.LinAlgError:
        finite = xp.isfinite(a).all(axis=(-2, -1))
        what = "the algorithm failed to converge"
        if finite.all():
            refuse(name, f"{what}: too many repeated or ill-conditioned values", (), "scale the matrix, or use float64")
        refuse(
            name,
            f"{what} because the input matrix contained non-finite values",
            first_of(xp, ~finite),
            "look for what made them: isfinite() tells",
        )


def _eigh_shapes(a: Any) -> tuple[Shape, Shape]:
    n = a.shape[-1]
    return (n,), (n, n)


def _eigh_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return packed_type(a, _eigh_shapes(a))


def _eigh_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    # Giles, "Collected matrix derivative results …", 2008, section 3.1.
    w, v = unpack(out, _eigh_shapes(a))
    of_w, of_v = unpack(ct, _eigh_shapes(a))
    inside = differences(w) * dot(adjoint(v), of_v)
    inside = diagonal_matrix(of_w) + (inside + adjoint(inside)) * 0.5
    return (chain(v, inside, adjoint(v)),)


def _eigh_jvp(tangents: Any, out: Any, a: Any) -> Any:
    w, v = unpack(out, _eigh_shapes(a))
    inside = chain(adjoint(v), tangents[0], v)
    return pack([diagonal_of(inside), dot(v, differences(w) * inside)], a.shape[:-2])


eigh: Operator = primitive(
    "eigh",
    family="linalg",
    type_rule=_eigh_type,
    eager=lambda xp, a: pack_arrays(xp, _converged(xp, xp.linalg.eigh, "linalg.eigh", a), a.shape[:-2]),
    vjp=_eigh_vjp,
    jvp=_eigh_jvp,
    batch=lambda inputs, batched, size: eigh(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, rising, and eigenvectors of symmetric matrices, packed; the lower triangle is read.",
    samples=(
        Sample((Arg((1, 1), symmetric=True),)),
        Sample((Arg((3, 4, 4), f64, symmetric=True),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _eigvalsh_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a.with_shape(a.shape[:-1])


def _eigenvectors(a: Any) -> Any:
    return unpack(eigh(a), _eigh_shapes(a))[1]


def _eigvalsh_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    v = _eigenvectors(a)
    return (dot(v * as_row(ct), adjoint(v)),)


def _eigvalsh_jvp(tangents: Any, out: Any, a: Any) -> Any:
    v = _eigenvectors(a)
    return diagonal_of(chain(adjoint(v), tangents[0], v))


eigvalsh: Operator = primitive(
    "eigvalsh",
    family="linalg",
    type_rule=_eigvalsh_type,
    eager=lambda xp, a: _converged(xp, xp.linalg.eigvalsh, "linalg.eigvalsh", a),
    vjp=_eigvalsh_vjp,
    jvp=_eigvalsh_jvp,
    batch=lambda inputs, batched, size: eigvalsh(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, rising, of symmetric matrices; the lower triangle is read.",
    samples=(
        Sample((Arg((2, 2), symmetric=True),)),
        Sample((Arg((3, 4, 4), f64, symmetric=True),)),
        Sample((Arg((1, 1), symmetric=True),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# Singular values ---------------------------------------------------------------------------------------


def svd_shapes(a: Any, full: bool) -> tuple[Shape, Shape, Shape]:
    """Shapes of U, S and Vᵀ."""
    m, n = a.shape[-2:]
    k = min(m, n)
    return (m, m if full else k), (k,), (n if full else k, n)


def _svd_type(a: TensorType, *, full: bool = False) -> TensorType:
    check_matrices(a)
    return packed_type(a, svd_shapes(a, full))


def _svd_eager(xp: Any, a: Any, *, full: bool) -> Any:
    found = _converged(xp, lambda x: xp.linalg.svd(x, full_matrices=full), "linalg.svd", a)
    return pack_arrays(xp, found, a.shape[:-2])


def _svd_vjp(ct: Any, out: Any, a: Any, *, full: bool) -> tuple[Any, ...]:
    # Townsend, "Differentiating the Singular Value Decomposition", 2016, eqs. 28-30; Giles 2008, section 3.2.
    u, s, vh = unpack(out, svd_shapes(a, full))
    of_u, of_s, of_vh = unpack(ct, svd_shapes(a, full))
    k = s.shape[-1]
    (u, u_left), (v, v_left) = _split(u, k), _split(adjoint(vh), k)
    (of_u, of_u_left), (of_v, of_v_left) = _split(of_u, k), _split(adjoint(of_vh), k)
    gaps, inverse = differences(s * s), as_row(reciprocal_or_zero(s))
    by_u, by_v = (dot(adjoint(x), g) for x, g in ((u, of_u), (v, of_v)))
    inside = diagonal_matrix(of_s) + gaps * (by_u - adjoint(by_u)) * as_row(s)
    inside = inside + as_column(s) * gaps * (by_v - adjoint(by_v))
    found = chain(u, inside, adjoint(v))
    if a.shape[-2] > k:
        found = found + dot(_turned(u, u_left, of_u, of_u_left, by_u) * inverse, adjoint(v))
    if a.shape[-1] > k:
        found = found + dot(u, adjoint(_turned(v, v_left, of_v, of_v_left, by_v) * inverse))
    return (found,)


def _split(u: Any, k: int) -> tuple[Any, Any]:
    """The first k columns, and the others, None where there are none."""
    n = u.shape[-1]
    return (u, None) if n == k else (between(u, -1, 0, k), between(u, -1, k, n))


def _turned(u: Any, left: Any, of_u: Any, of_left: Any, by_u: Any) -> Any:
    """What the cotangents ask of u's columns outside of the space that they span.

    Where the other columns of the square matrix are results too, they turn the other way.
    """
    if left is None:
        return of_u - dot(u, by_u)
    return dot(left, dot(adjoint(left), of_u) - dot(adjoint(of_left), u))


def _svd_jvp(tangents: Any, out: Any, a: Any, *, full: bool) -> Any:
    u, s, vh = unpack(out, svd_shapes(a, full))
    t, k = tangents[0], s.shape[-1]
    (u, u_left), (v, v_left) = _split(u, k), _split(adjoint(vh), k)
    inside = chain(adjoint(u), t, v)
    gaps, row, column = differences(s * s), as_row(s), as_column(s)
    by_u = gaps * (inside * row + column * adjoint(inside))
    by_v = gaps * (column * inside + adjoint(inside) * row)
    moved_u = _moved(u, u_left, by_u, dot(t, v), inside, s)
    moved_v = _moved(v, v_left, by_v, dot(adjoint(t), u), adjoint(inside), s)
    return pack([moved_u, diagonal_of(inside), adjoint(moved_v)], a.shape[:-2])


def _moved(u: Any, left: Any, by_u: Any, product: Any, inside: Any, s: Any) -> Any:
    """The tangent of u: turned within the space that its columns span, and out of it."""
    moved = dot(u, by_u)
    if u.shape[-2] == u.shape[-1]:
        return moved
    moved = moved + (product - dot(u, inside)) * as_row(reciprocal_or_zero(s))
    if left is None:
        return moved
    return concatenate(moved, -dot(u, adjoint(dot(adjoint(left), moved))), axis=u.ndim - 1)


svd: Operator = primitive(
    "svd",
    family="linalg",
    type_rule=_svd_type,
    eager=_svd_eager,
    vjp=_svd_vjp,
    jvp=_svd_jvp,
    batch=lambda inputs, batched, size, **params: svd(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="U, the singular values, falling, and Vᵀ, packed; with ``full``, U and V are square.",
    samples=(
        Sample((Arg((1, 1), low=1),)),
        Sample((Arg((3, 4, 4), f64),)),
        Sample((Arg((2, 4, 2), f64),)),
        Sample((Arg((3, 5), f64),)),
        Sample((Arg((4, 3), f64),), {"full": True}),
        Sample((Arg((2, 2, 3), f64),), {"full": True}),
        Sample((Arg((2, 0, 3)),), {"full": True}),
    ),
)


def _svdvals_type(a: TensorType) -> TensorType:
    check_matrices(a)
    return a.with_shape((*a.shape[:-2], min(a.shape[-2:])))


def _svdvals_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    u, _, vh = unpack(svd(a), svd_shapes(a, False))
    return (dot(u * as_row(ct), vh),)


def _svdvals_jvp(tangents: Any, out: Any, a: Any) -> Any:
    u, _, vh = unpack(svd(a), svd_shapes(a, False))
    return diagonal_of(chain(adjoint(u), tangents[0], adjoint(vh)))


svdvals: Operator = primitive(
    "svdvals",
    family="linalg",
    type_rule=_svdvals_type,
    eager=lambda xp, a: _converged(xp, lambda x: xp.linalg.svd(x, compute_uv=False), "linalg.svdvals", a),
    vjp=_svdvals_vjp,
    jvp=_svdvals_jvp,
    batch=lambda inputs, batched, size: svdvals(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Singular values, falling.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 4, 2), f64),)),
        Sample((Arg((2, 2, 5), f64),)),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 3)),)),
    ),
)
