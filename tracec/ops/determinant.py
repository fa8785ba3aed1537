"""Determinants."""

from __future__ import annotations

from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.contraction import swap_last as transposed
from tracec.ops.core import full_like
from tracec.ops.equations import inv
from tracec.ops.matrices import (
    as_column,
    between,
    chain,
    check_matrices,
    conjugate,
    imaginary,
    spread,
    trace_of_product,
)
from tracec.ops.view import concatenate, reshape

f64 = dt.float64


def _det_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a.with_shape(a.shape[:-2])


det: Operator = primitive(
    "det",
    family="linalg",
    type_rule=_det_type,
    eager=lambda xp, a: xp.linalg.det(a),
    vjp=lambda ct, out, a: (spread(ct) * cofactors(a),),
    jvp=lambda tangents, out, a: trace_of_product(cofactors(a), tangents[0]),
    batch=lambda inputs, batched, size: det(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The determinant.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 3), dt.complex128, diagonal=3),)),
        Sample((Arg((3, 5, 5), f64),)),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _cofactors_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a


def _cofactors_eager(xp: Any, a: Any) -> Any:
    if not a.size:
        return a
    u, s, vh = xp.linalg.svd(a)
    n = s.shape[-1]
    others = xp.where(xp.eye(n, dtype=bool), 1, s[..., None, :]).prod(axis=-1)
    phase = xp.linalg.det(u) * xp.linalg.det(vh)
    phase = phase / xp.abs(phase)
    return (xp.conj(xp.matmul(u * others[..., None, :], vh)) * phase[..., None, None]).astype(a.dtype)


def _moved_cofactors(t: Any, out: Any, a: Any) -> Any:
    """The derivative of ``det(a) a⁻ᵀ`` along t, which is its own transpose."""
    return (spread(trace_of_product(t, out)) * out - chain(out, transposed(t), out)) / spread(det(a))


cofactors: Operator = primitive(
    "cofactors",
    family="linalg",
    type_rule=_cofactors_type,
    eager=_cofactors_eager,
    vjp=lambda ct, out, a: (_moved_cofactors(ct, out, a),),
    jvp=lambda tangents, out, a: _moved_cofactors(tangents[0], out, a),
    batch=lambda inputs, batched, size: cofactors(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The derivatives of the determinant by each element, singular matrices included; its own need regular ones. "
    "Source: Stewart, 'On the Adjugate Matrix', 1998: products of all singular values but one.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 3), dt.complex128, diagonal=3),)),
        Sample((Arg((3, 4, 4), f64, diagonal=2),)),
        Sample((Arg((1, 1), diagonal=3),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)


def _slogdet_type(a: TensorType) -> TensorType:
    check_matrices(a, square=True)
    return a.with_shape((*a.shape[:-2], 2))


def _slogdet_vjp(ct: Any, out: Any, a: Any) -> tuple[Any, ...]:
    sign, of_sign, of_logarithm = (between(x, -1, k, k + 1) for x, k in ((out, 0), (ct, 0), (ct, 1)))
    if a.dtype.is_complex:
        # A change of tr(A⁻¹ dA) makes the logarithm grow by its real part, and turns the sign by its imaginary one.
        of_logarithm = (of_logarithm + conjugate(of_logarithm)) * 0.5 + imaginary(of_sign * sign)
    return (reshape(of_logarithm, shape=(*a.shape[:-2], 1, 1)) * transposed(inv(a)),)


def _slogdet_jvp(tangents: Any, out: Any, a: Any) -> Any:
    moved = as_column(trace_of_product(transposed(inv(a)), tangents[0]))
    if not a.dtype.is_complex:
        return concatenate(full_like(moved, 0), moved, axis=moved.ndim - 1)
    turned = between(out, -1, 0, 1) * imaginary(moved)
    return concatenate(turned, (moved + conjugate(moved)) * 0.5, axis=moved.ndim - 1)


slogdet: Operator = primitive(
    "slogdet",
    family="linalg",
    type_rule=_slogdet_type,
    eager=lambda xp, a: xp.stack(xp.linalg.slogdet(a), axis=-1).astype(a.dtype),
    vjp=_slogdet_vjp,
    jvp=_slogdet_jvp,
    batch=lambda inputs, batched, size: slogdet(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The sign of the determinant, and the logarithm of its absolute value.",
    samples=(
        Sample((Arg((2, 2), diagonal=3),)),
        Sample((Arg((3, 3), dt.complex128, diagonal=3),)),
        Sample((Arg((3, 5, 5), f64),)),
        Sample((Arg((1, 1)),)),
        Sample((Arg((2, 0, 0)),)),
    ),
)
