"""Eigenvalues of symmetric matrices, and singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import Shape, TensorType
from tracec.ops.base import primitive
from tracec.ops.complex import real
from tracec.ops.contraction import dot
from tracec.ops.contraction import swap_last as transposed
from tracec.ops.core import zeros_like
from tracec.ops.elementwise import abs as absolute
from tracec.ops.elementwise import cast
from tracec.ops.equations import solve
from tracec.ops.indexing import iota
from tracec.ops.linalg_arrays import first_of, refuse
from tracec.ops.logic import eq
from tracec.ops.matrices import (
    adjoint,
    as_column,
    as_row,
    between,
    chain,
    check_matrices,
    conjugate,
    conjugated,
    diagonal_matrix,
    diagonal_of,
    differences,
    half_sum,
    imaginary,
    like,
    pack,
    pack_arrays,
    packed_type,
    real_part,
    reciprocal_or_zero,
    unpack,
)
from tracec.ops.reduction import argmax, sum
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


def _eigh_gradient(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    # Giles, "Collected matrix derivative results …", 2008, section 3.1.
    w, v = unpack(out, _eigh_shapes(a))
    of_w, of_v = unpack(ct, _eigh_shapes(a))
    inside = half_sum(diagonal_matrix(of_w) + differences(w) * dot(adjoint(v), of_v))
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
    vjp=conjugated(_eigh_gradient),
    jvp=_eigh_jvp,
    batch=lambda inputs, batched, size: eigh(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, rising, and eigenvectors of Hermitian matrices, packed; the lower triangle is read.",
    samples=(
        Sample((Arg((1, 1), symmetric=True),)),
        Sample((Arg((3, 4, 4), f64, symmetric=True),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _eigvalsh_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a.with_shape(a.shape[:-1]).with_dtype(a.dtype.to_real())


def _eigenvectors(a: Any) -> Any:
    return unpack(eigh(a), _eigh_shapes(a))[1]


def _eigvalsh_gradient(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    v = _eigenvectors(a)
    return (dot(v * as_row(like(ct, v)), adjoint(v)),)


def _eigvalsh_jvp(tangents: Any, out: Any, a: Any) -> Any:
    v = _eigenvectors(a)
    return real_part(diagonal_of(chain(adjoint(v), tangents[0], v)))


eigvalsh: Operator = primitive(
    "eigvalsh",
    family="linalg",
    type_rule=_eigvalsh_type,
    eager=lambda xp, a: _converged(xp, xp.linalg.eigvalsh, "linalg.eigvalsh", a),
    vjp=conjugated(_eigvalsh_gradient),
    jvp=_eigvalsh_jvp,
    batch=lambda inputs, batched, size: eigvalsh(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, rising, of Hermitian matrices; the lower triangle is read.",
    samples=(
        Sample((Arg((2, 2), symmetric=True),)),
        Sample((Arg((3, 4, 4), f64, symmetric=True),)),
        Sample((Arg((3, 3), dt.complex128, symmetric=True),)),
        Sample((Arg((1, 1), symmetric=True),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# Eigenvalues -------------------------------------------------------------------------------------------


def _eig_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return packed_type(a, _eigh_shapes(a)).with_dtype(a.dtype.to_complex())


def _complex_eager(xp: Any, routine: str, name: str, a: Any) -> Any:
    # CuPy has had these routines since version 14 alone; without them the host computes.
    module = xp.linalg if hasattr(xp.linalg, routine) else np.linalg
    host = a.get() if module is np.linalg and xp is not np else a
    found = _converged(np if module is np.linalg else xp, getattr(module, routine), name, host)
    return found if module is xp.linalg else tuple(map(xp.asarray, found)) if routine == "eig" else xp.asarray(found)


def _eig_eager(xp: Any, a: Any) -> Any:
    kind = dt.of_numpy(a.dtype).to_complex().numpy
    return pack_arrays(xp, _complex_eager(xp, "eig", "linalg.eig", a), a.shape[:-2]).astype(kind)


def _largest(v: Any) -> Any:
    """Ones at the largest element of each column, zeros elsewhere."""
    size, axis = absolute(v), v.ndim - 2
    row = iota(shape=(v.shape[-2], 1), axis=0, dtype=dt.int64, device=str(v.device))
    return cast(eq(row, argmax(size, axis=axis, keepdims=True)), dtype=v.dtype)


def _column_sums(x: Any) -> Any:
    return sum(x, axes=(x.ndim - 2,), keepdims=True)


def _of_input(gradient: Any, a: Any) -> Any:
    """The cotangent of a, which may be real."""
    return gradient if a.dtype.is_complex else real(gradient)


def _eig_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    # Giles 2008, section 3.1, and what keeps the vectors as LAPACK scales them: of length 1, the largest element real.
    w, v = unpack(out, _eigh_shapes(a))
    of_w, of_v = unpack(ct, _eigh_shapes(a))
    if 0 in a.shape:
        return (zeros_like(a),)
    scale, at = _column_sums(of_v * v), _largest(v)
    real_scale = scale - imaginary(scale)
    of_v = of_v - real_scale * conjugate(v) - at * imaginary(scale) / _column_sums(at * v)
    inside = diagonal_matrix(of_w) + differences(w) * dot(transposed(v), of_v)
    return (_of_input(solve(transposed(v), dot(inside, transposed(v))), a),)


def _eig_jvp(tangents: Any, out: Any, a: Any) -> Any:
    w, v = unpack(out, _eigh_shapes(a))
    if 0 in a.shape:
        return zeros_like(out)
    inside = solve(v, dot(like(tangents[0], v), v))
    moved, at = dot(v, differences(w) * inside), _largest(v)
    length = _column_sums(conjugate(v) * moved)
    turned = imaginary(_column_sums(at * moved) / _column_sums(at * v))
    return pack([diagonal_of(inside), moved - v * (length - imaginary(length) + turned)], a.shape[:-2])


eig: Operator = primitive(
    "eig",
    family="linalg",
    type_rule=_eig_type,
    eager=_eig_eager,
    vjp=_eig_vjp,
    jvp=_eig_jvp,
    batch=lambda inputs, batched, size: eig(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, in no order, and eigenvectors, packed; complex.",
    samples=(
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 4, 4), f64),)),
        Sample((Arg((3, 3), dt.complex128),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _eigvals_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a.with_shape(a.shape[:-1]).with_dtype(a.dtype.to_complex())


def _eigvals_eager(xp: Any, a: Any) -> Any:
    kind = dt.of_numpy(a.dtype).to_complex().numpy
    return _complex_eager(xp, "eigvals", "linalg.eigvals", a).astype(kind)


def _eigvals_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    v = transposed(unpack(eig(a), _eigh_shapes(a))[1])
    return (_of_input(solve(v, as_column(ct) * v), a),)


def _eigvals_jvp(tangents: Any, out: Any, a: Any) -> Any:
    v = unpack(eig(a), _eigh_shapes(a))[1]
    return diagonal_of(solve(v, dot(like(tangents[0], v), v)))


eigvals: Operator = primitive(
    "eigvals",
    family="linalg",
    type_rule=_eigvals_type,
    eager=_eigvals_eager,
    vjp=_eigvals_vjp,
    jvp=_eigvals_jvp,
    batch=lambda inputs, batched, size: eigvals(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="Eigenvalues, in no order; complex.",
    samples=(
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 4, 4), f64),)),
        Sample((Arg((3, 3), dt.complex128),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


# Singular values ---------------------------------------------------------------------------------------


def svd_shapes(a: Any, full: bool) -> tuple[Shape, Shape, Shape]:
    """Shapes of U, S and Vᴴ."""
    m, n = a.shape[-2:]
    k = min(m, n)
    return (m, m if full else k), (k,), (n if full else k, n)


def _svd_type(a: TensorType, *, full: bool = False) -> TensorType:
    check_matrices(a)
    return packed_type(a, svd_shapes(a, full))


def _svd_eager(xp: Any, a: Any, *, full: bool) -> Any:
    found = _converged(xp, lambda x: xp.linalg.svd(x, full_matrices=full), "linalg.svd", a)
    return pack_arrays(xp, found, a.shape[:-2])


def _svd_gradient(ct: Any, out: Any, a: Any, *, full: bool) -> tuple[Any, ...]:
    # Townsend, "Differentiating the Singular Value Decomposition", 2016, eqs. 28-30; Giles 2008, section 3.2.
    u, s, vh = unpack(out, svd_shapes(a, full))
    of_u, of_s, of_vh = unpack(ct, svd_shapes(a, full))
    k = s.shape[-1]
    (u, u_left), (v, v_left) = _split(u, k), _split(adjoint(vh), k)
    (of_u, of_u_left), (of_v, of_v_left) = _split(of_u, k), _split(adjoint(of_vh), k)
    gaps, inverse = differences(s * s), as_row(reciprocal_or_zero(s))
    by_u, by_v = (dot(adjoint(x), g) for x, g in ((u, of_u), (v, of_v)))
    if a.dtype.is_complex:
        # The phases of a pair of vectors are open; of what turns u against v, each takes half.
        of_s = (of_s + conjugate(of_s) + imaginary(diagonal_of(by_u) - diagonal_of(by_v)) * reciprocal_or_zero(s)) * 0.5
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
    if t.dtype.is_complex:
        phases = diagonal_matrix(imaginary(diagonal_of(inside)) * reciprocal_or_zero(s) * 0.5)
        by_u, by_v = by_u + phases, by_v - phases
    moved_u = _moved(u, u_left, by_u, dot(t, v), inside, s)
    moved_v = _moved(v, v_left, by_v, dot(adjoint(t), u), adjoint(inside), s)
    return pack([moved_u, diagonal_of(half_sum(inside)), adjoint(moved_v)], a.shape[:-2])


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
    vjp=conjugated(_svd_gradient),
    jvp=_svd_jvp,
    batch=lambda inputs, batched, size, **params: svd(inputs[0], **params),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="U, the singular values, falling, and Vᴴ, packed; with ``full``, U and V are square.",
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
    return a.with_shape((*a.shape[:-2], min(a.shape[-2:]))).with_dtype(a.dtype.to_real())


def _svdvals_gradient(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    u, _, vh = unpack(svd(a), svd_shapes(a, False))
    return (dot(u * as_row(like(ct, u)), vh),)


def _svdvals_jvp(tangents: Any, out: Any, a: Any) -> Any:
    u, _, vh = unpack(svd(a), svd_shapes(a, False))
    return real_part(diagonal_of(chain(adjoint(u), tangents[0], adjoint(vh))))


svdvals: Operator = primitive(
    "svdvals",
    family="linalg",
    type_rule=_svdvals_type,
    eager=lambda xp, a: _converged(xp, lambda x: xp.linalg.svd(x, compute_uv=False), "linalg.svdvals", a),
    vjp=conjugated(_svdvals_gradient),
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
        Sample((Arg((3, 2), dt.complex128),)),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 3)),)),
    ),
)
