"""Functions of two numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec.ir import dtype as dt
from tracec.ir.lower import HostCall
from tracec.ir.node import is_constant
from tracec.ir.operator import Arg, Sample, not_differentiable
from tracec.ops import arrays
from tracec.ops.complex import imag, real
from tracec.ops.core import zeros_like
from tracec.ops.elementwise import log, trunc
from tracec.ops.families import elementwise
from tracec.ops.logic import bitwise_and, eq, ge, gt, lt, where

# Sum and product --------------------------------------------------------------------------------------

add = elementwise(
    "add",
    eager=lambda xp, x, y: xp.add(x, y),
    derivative=(lambda t, out, x, y: t, lambda t, out, x, y: t),
    takes="anything",
    doc="``x + y``; logical or on bools.",
)
sub = elementwise(
    "sub",
    eager=lambda xp, x, y: xp.subtract(x, y),
    derivative=(lambda t, out, x, y: t, lambda t, out, x, y: -t),
    takes="numbers",
    doc="``x - y``.",
)
mul = elementwise(
    "mul",
    eager=lambda xp, x, y: xp.multiply(x, y),
    derivative=(lambda t, out, x, y: t * y, lambda t, out, x, y: t * x),
    takes="anything",
    doc="``x * y``; logical and on bools.",
)
div = elementwise(
    "div",
    eager=lambda xp, x, y: xp.true_divide(x, y),
    # The quotient of the first is there for the second, which then keeps nothing but the result.
    derivative=(lambda t, out, x, y: t / y, lambda t, out, x, y: -(t / y * out)),
    domain=((-2.0, 2.0), (0.3, 2.0)),
    takes="inexact",
    doc="``x / y``; dividing by 0 gives an infinity or NaN.",
)

# Power ------------------------------------------------------------------------------------------------


def _power(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind in "iu":
        return arrays.integer_power(xp, x, y)
    if xp is np and not y.ndim and x.dtype.kind == "f" and (power := float(y)) == round(power, 0):
        return _whole_power(x, y, power)
    return xp.power(x, y)


def _whole_power(x: Any, y: Any, power: float) -> Any:
    """A power that is a whole number or infinite: NumPy's function takes a hundred times as long for bases below 0."""
    if power == 2.0:
        return np.multiply(x, x)
    if power == 3.0:
        found = np.multiply(x, x)
        return np.multiply(found, x)
    found = np.power(np.abs(x), y)
    return np.copysign(found, x) if power % 2.0 == 1.0 else found


def _power_in_base(t: Any, out: Any, x: Any, y: Any) -> Any:
    """``y * x ** (y - 1)``, and 0 for the power 0, also of 0, as ``x ** 0`` is 1 everywhere."""
    if is_constant(y):
        power = y.param("value")
        return t * (power * x ** (power - 1.0)) if power else zeros_like(t)
    return t * where(eq(y, 0.0), 0.0, y * x ** (y - 1.0))


def _power_in_exponent(t: Any, out: Any, x: Any, y: Any) -> Any:
    """``out * log(x)``, and 0 for the base 0, where the power is constant on the side of y that it is finite on."""
    settled = ge(y, 0.0) if not y.dtype.is_complex else bitwise_and(ge(real(y), 0.0), eq(imag(y), 0.0))
    return t * where(bitwise_and(eq(x, 0.0), settled), 0.0, out * log(x))


pow = elementwise(
    "pow",
    eager=_power,
    derivative=(_power_in_base, _power_in_exponent),
    takes="numbers",
    domain=((0.2, 2.0), (-2.0, 2.0)),
    samples=(
        Sample((Arg((9,), dt.int64, -9, 9), Arg((9,), dt.int64, 0, 5))),
        Sample((Arg((40,), dt.int32, -2, 3), Arg((40,), dt.int32, -4, 5))),
    ),
    doc="``x ** y``; a negative power of integers is rounded towards zero.",
)

# The larger and the smaller ---------------------------------------------------------------------------


def _winner_takes(t: Any, tie: Any, loses: Any) -> Any:
    """All of t for the operand that is chosen, half of it for each of two that are equal."""
    return where(tie, t * 0.5, where(loses, 0.0, t))


maximum = elementwise(
    "maximum",
    eager=lambda xp, x, y: xp.maximum(x, y),
    derivative=(
        lambda t, out, x, y: _winner_takes(t, eq(x, y), lt(x, y)),
        lambda t, out, x, y: _winner_takes(t, eq(x, y), gt(x, y)),
    ),
    takes="ordered",
    doc="The larger of two; NaN where either is. Equal ones share the gradient.",
)
minimum = elementwise(
    "minimum",
    eager=lambda xp, x, y: xp.minimum(x, y),
    derivative=(
        lambda t, out, x, y: _winner_takes(t, eq(x, y), gt(x, y)),
        lambda t, out, x, y: _winner_takes(t, eq(x, y), lt(x, y)),
    ),
    takes="ordered",
    doc="The smaller of two; NaN where either is. Equal ones share the gradient.",
)

# Sign and size ----------------------------------------------------------------------------------------

copysign = elementwise(
    "copysign",
    eager=lambda xp, x, y: xp.copysign(x, y),
    derivative=(lambda t, out, x, y: where(eq(x, 0.0), 0.0, t * (out / x)), None),
    doc="The size of x with the sign of y, that of a zero or NaN included; its derivative at 0 is 0.",
)
nextafter = elementwise(
    "nextafter",
    eager=lambda xp, x, y: xp.nextafter(x, y),
    derivative=(lambda t, out, x, y: where(eq(x, y), 0.0, t), None),
    doc="The next number of the dtype from x on towards y.",
)

# Divisors ---------------------------------------------------------------------------------------------

gcd = elementwise(
    "gcd",
    eager=lambda xp, x, y: xp.gcd(x, y),
    derivative=not_differentiable("its operands are integers"),
    takes="integers",
    lower=HostCall(),
    doc="The greatest common divisor, not negative; that of 0 and 0 is 0.",
)
lcm = elementwise(
    "lcm",
    eager=lambda xp, x, y: xp.lcm(x, y),
    derivative=not_differentiable("its operands are integers"),
    takes="integers",
    lower=HostCall(),
    doc="The least common multiple, not negative; 0 where an operand is 0.",
)

# Angle ------------------------------------------------------------------------------------------------


def _turn(t: Any, y: Any, x: Any, side: Any) -> Any:
    """t times a side over the squared distance from the origin, where the angle does not turn at all."""
    distance = x * x + y * y
    origin = eq(distance, 0.0)
    return where(origin, 0.0, t * (side / where(origin, 1.0, distance)))


atan2 = elementwise(
    "atan2",
    eager=lambda xp, y, x: xp.arctan2(y, x),
    derivative=(
        lambda t, out, y, x: _turn(t, y, x, x),
        lambda t, out, y, x: -_turn(t, y, x, y),
    ),
    domain=((0.3, 2.0), (-2.0, 2.0)),
    doc="The angle of the point (second operand, first operand), from -pi to pi.",
)

hypot = elementwise(
    "hypot",
    eager=lambda xp, x, y: xp.hypot(x, y),
    derivative=(lambda t, out, x, y: t * (x / out), lambda t, out, x, y: t * (y / out)),
    domain=((0.3, 2.0), (-2.0, 2.0)),
    doc="``sqrt(x² + y²)``, whatever x² and y² overflow to.",
)

# Division with remainder ------------------------------------------------------------------------------


def _flat(t: Any, out: Any, x: Any, y: Any) -> Any:
    """The derivative of a function made of steps."""
    return zeros_like(t)


_DIVISION_SAMPLES = (
    Sample((Arg((50,), dt.int32, -9, 10), Arg((50,), dt.int32, -4, 5))),
    Sample((Arg((50,), dt.float32, -9.0, 9.0), Arg((50,), dt.float32, -2.0, 2.0))),
    Sample((Arg((50,), dt.float16, -9.0, 9.0), Arg((50,), dt.float16, -2.0, 2.0))),
)

floor_div = elementwise(
    "floor_div",
    eager=lambda xp, x, y: xp.floor_divide(x, y),
    derivative=(_flat, _flat),
    takes="real numbers",
    domain=((-2.0, 2.0), (0.3, 2.0)),
    samples=_DIVISION_SAMPLES,
    doc="``x / y``, rounded down; 0 where integers are divided by 0.",
)
remainder = elementwise(
    "remainder",
    eager=lambda xp, x, y: xp.remainder(x, y),
    derivative=(lambda t, out, x, y: t, lambda t, out, x, y: -(t * floor_div(x, y))),
    takes="real numbers",
    domain=((-2.0, 2.0), (0.3, 2.0)),
    samples=_DIVISION_SAMPLES,
    doc="``x - y * floor_div(x, y)``, with the sign of y; 0 where integers are divided by 0.",
)
fmod = elementwise(
    "fmod",
    eager=lambda xp, x, y: xp.fmod(x, y),
    derivative=(lambda t, out, x, y: t, lambda t, out, x, y: -(t * trunc(x / y))),
    takes="real numbers",
    domain=((-2.0, 2.0), (0.3, 2.0)),
    samples=_DIVISION_SAMPLES,
    doc="``x - y * trunc(x / y)``, exact, with the sign of x; 0 where integers are divided by 0.",
)
