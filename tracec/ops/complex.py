"""Complex numbers and their parts.

No kernel computes complex values: a compiled program calls the eager rule of each operator that takes or gives them.
Derivative rules are transposes, with no conjugate that the function itself has not; see `tracec.transform.vjp`.
"""

from __future__ import annotations

from typing import Any

from tracec.errors import DTypeError, ShapeError
from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.operator import OPERATORS, Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops.base import primitive
from tracec.ops.families import Modes, check_dtype, elementwise
from tracec.ops.logic import eq, where
from tracec.ops.view import reshape, slice

conj: Operator = elementwise(
    "conj",
    eager=lambda xp, x: xp.conj(x),
    derivative=Modes(reverse=lambda ct, out, x: conj(ct), forward=lambda t, out, x: conj(t)),
    takes="complex",
    lower=HostCall(),
    doc="The number with its imaginary part negated.",
)

# Numbers as pairs of their parts ----------------------------------------------------------------------


def _pairs_type(x: TensorType) -> TensorType:
    check_dtype(x, "complex")
    return TensorType(x.dtype.to_real(), (*x.shape, 2), x.device)


def _numbers_type(x: TensorType) -> TensorType:
    if x.dtype not in (dt.float32, dt.float64):
        raise DTypeError(f"takes float32 and float64, {x.dtype.short} given", hint="cast it to one of them first")
    if not x.ndim or x.shape[-1] != 2:
        raise ShapeError(f"takes pairs along a last axis of size 2, shape is {x.shape}", hint="stack the parts last")
    return TensorType(x.dtype.to_complex(), x.shape[:-1], x.device)


def _numbers_eager(xp: Any, x: Any) -> Any:
    if x.strides[-1] != x.itemsize:
        x = xp.ascontiguousarray(x)
    return x.view(dt.of_numpy(x.dtype).to_complex().numpy)[..., 0]


view_as_real: Operator = primitive(
    "view_as_real",
    family="view",
    type_rule=_pairs_type,
    eager=lambda xp, x: x[..., None].view(dt.of_numpy(x.dtype).to_real().numpy),
    vjp=lambda ct, out, x: (conj(view_as_complex(ct)),),
    jvp=lambda tangents, out, x: view_as_real(tangents[0]),
    batch=lambda inputs, batched, size: view_as_real(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The real and the imaginary part of each number, along a new last axis.",
    samples=(
        Sample((Arg((2, 3), dt.complex128),)),
        Sample((Arg((), dt.complex128),)),
        Sample((Arg((5,), dt.complex64),)),
        Sample((Arg((0, 3), dt.complex64),)),
    ),
)
view_as_complex: Operator = primitive(
    "view_as_complex",
    family="view",
    type_rule=_numbers_type,
    eager=_numbers_eager,
    vjp=lambda ct, out, x: (view_as_real(conj(ct)),),
    jvp=lambda tangents, out, x: view_as_complex(tangents[0]),
    batch=lambda inputs, batched, size: view_as_complex(inputs[0]),
    lower=HostCall(),
    arity=1,
    promotion="none",
    doc="The complex numbers whose real and imaginary parts stand along the last axis.",
    samples=(
        Sample((Arg((3, 2), dt.float64),)),
        Sample((Arg((2,), dt.float64),)),
        Sample((Arg((5, 1, 2), dt.float32),)),
        Sample((Arg((0, 2), dt.float32),)),
    ),
)


def real(x: Any) -> Any:
    """The real parts; of a tensor a view."""
    return _part(x, 0)


def imag(x: Any) -> Any:
    """The imaginary parts; of a tensor a view."""
    return _part(x, 1)


def _part(x: Any, which: int) -> Any:
    pairs, shape = view_as_real(x), tuple(x.shape)
    n = len(shape)
    one = slice(pairs, starts=(0,) * n + (which,), stops=(*shape, which + 1), steps=(1,) * (n + 1))
    return reshape(one, shape=shape)


def unit(x: Any, size: Any) -> Any:
    """Complex numbers divided by their sizes; 0 where that is 0, with a derivative of 0."""
    none = eq(size, 0.0)
    return where(none, 0.0, x / OPERATORS["cast"](where(none, 1.0, size), dtype=x.dtype))
