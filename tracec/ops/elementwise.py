"""Functions of one element, and the cast between element types."""

from __future__ import annotations

from math import log as natural
from math import pi
from math import sqrt as root
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.lower import Elementwise
from tracec.ir.operator import Arg, Operator, Sample
from tracec.ir.types import TensorType
from tracec.ops import arrays
from tracec.ops.base import primitive
from tracec.ops.complex import conj, real, unit
from tracec.ops.core import zeros_like
from tracec.ops.erf import erf as erf_of_array
from tracec.ops.families import Modes, elementwise
from tracec.ops.halves import narrowed, widened


def _flat(t: Any, out: Any, x: Any) -> Any:
    """The derivative of a function made of steps: zero wherever it has one."""
    return zeros_like(x)


def _direction(x: Any, size: Any) -> Any:
    """What a complex number's size grows by, as a factor of the real part of a product."""
    return conj(unit(x, size))


# Sign and size ----------------------------------------------------------------------------------------

neg = elementwise(
    "neg",
    eager=lambda xp, x: xp.negative(x),
    derivative=lambda t, out, x: -t,
    takes="numbers",
    doc="``-x``; unsigned integers wrap around.",
)
abs = elementwise(
    "abs",
    eager=lambda xp, x: xp.absolute(x),
    derivative=Modes(
        reverse=lambda ct, out, x: cast(ct, dtype=x.dtype) * _direction(x, out) if x.dtype.is_complex else ct * sign(x),
        forward=lambda t, out, x: real(t * _direction(x, out)) if x.dtype.is_complex else t * sign(x),
    ),
    takes="numbers",
    gives=DType.to_real,
    doc="The size of x; its derivative at 0 is 0.",
)
sign: Operator = elementwise(
    "sign",
    eager=lambda xp, x: xp.sign(x),
    derivative=_flat,
    takes="real numbers",
    doc="-1, 0 or 1; NaN for NaN.",
)

# Exponential and logarithm ----------------------------------------------------------------------------

exp = elementwise(
    "exp",
    eager=lambda xp, x: xp.exp(x),
    derivative=lambda t, out, x: t * out,
    takes="inexact",
    doc="e to the power of x.",
)
exp2 = elementwise(
    "exp2",
    eager=lambda xp, x: xp.exp2(x),
    derivative=lambda t, out, x: t * (out * natural(2.0)),
    takes="inexact",
    doc="2 to the power of x.",
)
expm1 = elementwise(
    "expm1",
    eager=lambda xp, x: xp.expm1(x),
    derivative=lambda t, out, x: t * (out + 1.0),
    takes="inexact",
    doc="``exp(x) - 1``, accurate near 0.",
)
log = elementwise(
    "log",
    eager=lambda xp, x: xp.log(x),
    derivative=lambda t, out, x: t / x,
    takes="inexact",
    domain=(0.2, 3.0),
    doc="The natural logarithm; NaN below 0.",
)
log2 = elementwise(
    "log2",
    eager=lambda xp, x: xp.log2(x),
    derivative=lambda t, out, x: t / (x * natural(2.0)),
    domain=(0.2, 3.0),
    takes="inexact",
    doc="The logarithm to base 2; NaN below 0.",
)
log10 = elementwise(
    "log10",
    eager=lambda xp, x: xp.log10(x),
    derivative=lambda t, out, x: t / (x * natural(10.0)),
    domain=(0.2, 3.0),
    takes="inexact",
    doc="The logarithm to base 10; NaN below 0.",
)
log1p = elementwise(
    "log1p",
    eager=lambda xp, x: xp.log1p(x),
    derivative=lambda t, out, x: t / (x + 1.0),
    takes="inexact",
    domain=(-0.8, 3.0),
    doc="``log(1 + x)``, accurate near 0.",
)
sigmoid = elementwise(
    "sigmoid",
    eager=arrays.sigmoid,
    derivative=lambda t, out, x: t * (out * (1.0 - out)),
    takes="inexact",
    doc="``1 / (1 + exp(-x))``.",
)

# Angles -----------------------------------------------------------------------------------------------

sin = elementwise(
    "sin",
    eager=lambda xp, x: xp.sin(x),
    derivative=lambda t, out, x: t * cos(x),
    takes="inexact",
    doc="The sine of x radians.",
)
cos: Operator = elementwise(
    "cos",
    eager=lambda xp, x: xp.cos(x),
    derivative=lambda t, out, x: -(t * sin(x)),
    takes="inexact",
    doc="The cosine of x radians.",
)
tan = elementwise(
    "tan",
    eager=lambda xp, x: xp.tan(x),
    derivative=lambda t, out, x: t * (1.0 + out * out),
    takes="inexact",
    domain=(-1.2, 1.2),
    doc="The tangent of x radians.",
)
asin = elementwise(
    "asin",
    eager=lambda xp, x: xp.arcsin(x),
    derivative=lambda t, out, x: t * rsqrt(1.0 - x * x),
    takes="inexact",
    domain=(-0.9, 0.9),
    doc="The angle whose sine is x.",
)
acos = elementwise(
    "acos",
    eager=lambda xp, x: xp.arccos(x),
    derivative=lambda t, out, x: -(t * rsqrt(1.0 - x * x)),
    takes="inexact",
    domain=(-0.9, 0.9),
    doc="The angle whose cosine is x.",
)
atan = elementwise(
    "atan",
    eager=lambda xp, x: xp.arctan(x),
    derivative=lambda t, out, x: t / (1.0 + x * x),
    takes="inexact",
    doc="The angle whose tangent is x.",
)
sinh = elementwise(
    "sinh",
    eager=lambda xp, x: xp.sinh(x),
    derivative=lambda t, out, x: t * cosh(x),
    takes="inexact",
    doc="The hyperbolic sine.",
)
cosh: Operator = elementwise(
    "cosh",
    eager=lambda xp, x: xp.cosh(x),
    derivative=lambda t, out, x: t * sinh(x),
    takes="inexact",
    doc="The hyperbolic cosine.",
)
tanh = elementwise(
    "tanh",
    eager=lambda xp, x: xp.tanh(x),
    derivative=lambda t, out, x: t * (1.0 - out * out),
    takes="inexact",
    doc="The hyperbolic tangent.",
)

asinh = elementwise(
    "asinh",
    eager=lambda xp, x: xp.arcsinh(x),
    derivative=lambda t, out, x: t * rsqrt(x * x + 1.0),
    takes="inexact",
    doc="The inverse hyperbolic sine.",
)
acosh = elementwise(
    "acosh",
    eager=lambda xp, x: xp.arccosh(x),
    derivative=lambda t, out, x: t * (rsqrt(x - 1.0) * rsqrt(x + 1.0)),
    domain=(1.2, 3.0),
    takes="inexact",
    doc="The inverse hyperbolic cosine; NaN below 1.",
)
atanh = elementwise(
    "atanh",
    eager=lambda xp, x: xp.arctanh(x),
    derivative=lambda t, out, x: t / (1.0 - x * x),
    domain=(-0.9, 0.9),
    takes="inexact",
    doc="The inverse hyperbolic tangent; NaN outside of [-1, 1].",
)

# Roots and the error function -------------------------------------------------------------------------

erf = elementwise(
    "erf",
    eager=erf_of_array,
    derivative=lambda t, out, x: t * (2.0 / root(pi) * exp(-(x * x))),
    doc="The error function, the integral of ``2 / sqrt(pi) * exp(-t**2)`` from 0 to x.",
)
sqrt = elementwise(
    "sqrt",
    eager=lambda xp, x: xp.sqrt(x),
    derivative=lambda t, out, x: t * 0.5 / out,
    takes="inexact",
    domain=(0.2, 3.0),
    doc="The square root; NaN below 0.",
)
rsqrt: Operator = elementwise(
    "rsqrt",
    eager=lambda xp, x: 1 / xp.sqrt(x),
    derivative=lambda t, out, x: t * (-0.5 * (out * out * out)),
    takes="inexact",
    domain=(0.2, 3.0),
    doc="``1 / sqrt(x)``.",
)

# Rounding ---------------------------------------------------------------------------------------------

floor = elementwise(
    "floor",
    eager=lambda xp, x: xp.floor(x),
    derivative=_flat,
    doc="The largest whole number that is not above x.",
)
ceil = elementwise(
    "ceil",
    eager=lambda xp, x: xp.ceil(x),
    derivative=_flat,
    doc="The smallest whole number that is not below x.",
)
round = elementwise(
    "round",
    eager=lambda xp, x: xp.rint(x),
    derivative=_flat,
    doc="The nearest whole number; of two, the even one.",
)
trunc = elementwise(
    "trunc",
    eager=lambda xp, x: xp.trunc(x),
    derivative=_flat,
    doc="The whole number next to x on the side of 0.",
)

# Element types ----------------------------------------------------------------------------------------


def _cast_eager(xp: Any, x: Any, *, dtype: DType) -> Any:
    if x.dtype.kind == "c" and dtype.kind not in "bc":
        x = x.real
    wanted = dtype.numpy
    if wanted.itemsize == 2 and wanted.kind == "f":
        return narrowed(x, wanted)
    return widened(x) if dtype is dt.float32 else x.astype(wanted)


def _cast_vjp(ct: Any, out: Any, x: Any, *, dtype: DType) -> tuple[Any, ...]:
    return (cast(ct, dtype=x.dtype) if dtype.is_differentiable and x.dtype.is_differentiable else None,)


def _cast_jvp(tangents: Any, out: Any, x: Any, *, dtype: DType) -> Any:
    return cast(tangents[0], dtype=dtype) if dtype.is_differentiable else zeros_like(out)


cast: Operator = primitive(
    "cast",
    family="elementwise",
    type_rule=lambda x, *, dtype: TensorType(dtype, x.shape, x.device),
    eager=_cast_eager,
    vjp=_cast_vjp,
    jvp=_cast_jvp,
    batch=lambda inputs, batched, size, *, dtype: cast(inputs[0], dtype=dtype),
    lower=Elementwise("cast"),
    samples=(
        Sample((Arg((2, 3), dt.float64),), {"dtype": dt.float64}),
        Sample((Arg((7,), dt.float64),), {"dtype": dt.float32}),
        Sample((Arg((7,), dt.float32),), {"dtype": dt.float16}),
        Sample((Arg((7,), dt.float32),), {"dtype": dt.bfloat16}),
        Sample((Arg((7,), dt.bfloat16),), {"dtype": dt.float16}),
        Sample((Arg((7,), dt.float16),), {"dtype": dt.float64}),
        Sample((Arg((7,), dt.float32, -9, 9),), {"dtype": dt.int8}),
        Sample((Arg((7,), dt.bfloat16, -9, 9),), {"dtype": dt.int64}),
        Sample((Arg((7,), dt.int64, -9, 9),), {"dtype": dt.bfloat16}),
        Sample((Arg((7,), dt.int64, -999, 999),), {"dtype": dt.uint8}),
        Sample((Arg((7,), dt.int32, -1, 2),), {"dtype": dt.bool_}),
        Sample((Arg((7,), dt.float32),), {"dtype": dt.bool_}),
        Sample((Arg((7,), dt.bool_),), {"dtype": dt.float32}),
        Sample((Arg((), dt.uint8, 0, 9),), {"dtype": dt.float64}),
        Sample((Arg((0, 2), dt.float64),), {"dtype": dt.float32}),
        Sample((Arg((7,), dt.float64),), {"dtype": dt.complex128}),
        Sample((Arg((7,), dt.complex128),), {"dtype": dt.float64}),
        Sample((Arg((7,), dt.complex128),), {"dtype": dt.complex64}),
        Sample((Arg((7,), dt.complex64, -9, 9),), {"dtype": dt.int32}),
        Sample((Arg((7,), dt.complex64),), {"dtype": dt.bool_}),
    ),
    arity=1,
    promotion="none",
    doc="The same values in another element type; floats lose their fraction on the way to integers, complex numbers "
    "their imaginary part on the way to real ones.",
)
