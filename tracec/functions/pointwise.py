"""Functions of each element: exponentials, logarithms, trigonometry, rounding."""

from __future__ import annotations

import math
from typing import NamedTuple

from tracec import ops
from tracec.errors import DTypeError
from tracec.functions.common import cast, check_floating, check_tensor, fail, one_integer
from tracec.ir import dtype as dt
from tracec.ir.operator import Operator
from tracec.record.autocast import FLOAT32, under_autocast
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
@under_autocast(FLOAT32)
def exp(input: Tensor) -> Tensor:
    """e to the power of each element."""
    return ops.exp(input)


@tensor_method
def exp2(input: Tensor) -> Tensor:
    """2 to the power of each element."""
    return ops.exp2(input)


@tensor_method
@under_autocast(FLOAT32)
def expm1(input: Tensor) -> Tensor:
    """``exp(input) - 1``, precise near 0."""
    return ops.expm1(input)


@tensor_method
@under_autocast(FLOAT32)
def log(input: Tensor) -> Tensor:
    """Natural logarithm."""
    return ops.log(input)


@tensor_method
@under_autocast(FLOAT32)
def log1p(input: Tensor) -> Tensor:
    """``log(1 + input)``, precise near 0."""
    return ops.log1p(input)


@tensor_method
@under_autocast(FLOAT32)
def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return ops.log2(input)


@tensor_method
@under_autocast(FLOAT32)
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return ops.log10(input)


@tensor_method
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """``log(exp(input) + exp(other))`` without overflow."""
    check_tensor("logaddexp", input)
    check_tensor("logaddexp", other, "other")
    if input.dtype.is_complex or other.dtype.is_complex:
        return _complex_logaddexp(input, other)
    same, larger, gap = _larger_and_gap("logaddexp", input, other)
    return ops.where(same, ops.add(larger, math.log(2.0)), ops.add(larger, ops.log1p(ops.exp(gap))))


def _complex_logaddexp(x: Tensor, y: Tensor) -> Tensor:
    first = ops.ge(x.real, y.real)
    larger, smaller = ops.where(first, x, y), ops.where(first, y, x)
    # Two equal infinities have no gap to subtract.
    gap = ops.where(ops.eq(larger, smaller), 0.0, ops.sub(smaller, larger))
    return ops.add(larger, ops.log1p(ops.exp(gap)))


@tensor_method
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """``log2(2 ** input + 2 ** other)`` without overflow."""
    same, larger, gap = _larger_and_gap("logaddexp2", input, other)
    rest = ops.mul(ops.log1p(ops.exp2(gap)), 1.0 / math.log(2.0))
    return ops.where(same, ops.add(larger, 1.0), ops.add(larger, rest))


def _larger_and_gap(name: str, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where two logarithms are equal, the larger one, and the difference, not positive."""
    check_tensor(name, input)
    check_tensor(name, other, "other")
    if not input.dtype.is_floating_point:
        # One of them is floating, and the other becomes so.
        check_floating(name, other, "other")
    # Two equal infinities have no gap to subtract.
    return ops.eq(input, other), ops.maximum(input, other), ops.neg(ops.abs(ops.sub(input, other)))


@tensor_method
def sin(input: Tensor) -> Tensor:
    """Sine of radians."""
    return ops.sin(input)


@tensor_method
def cos(input: Tensor) -> Tensor:
    """Cosine of radians."""
    return ops.cos(input)


@tensor_method
@under_autocast(FLOAT32)
def tan(input: Tensor) -> Tensor:
    """Tangent of radians."""
    return ops.tan(input)


@tensor_method
@under_autocast(FLOAT32)
def asin(input: Tensor) -> Tensor:
    """Inverse sine, in radians."""
    return ops.asin(input)


@tensor_method
@under_autocast(FLOAT32)
def acos(input: Tensor) -> Tensor:
    """Inverse cosine, in radians."""
    return ops.acos(input)


@tensor_method
def atan(input: Tensor) -> Tensor:
    """Inverse tangent, in radians."""
    return ops.atan(input)


@tensor_method
@under_autocast(FLOAT32)
def sinh(input: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return ops.sinh(input)


@tensor_method
@under_autocast(FLOAT32)
def cosh(input: Tensor) -> Tensor:
    """Hyperbolic cosine."""
    return ops.cosh(input)


@tensor_method
def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return ops.tanh(input)


@tensor_method
def asinh(input: Tensor) -> Tensor:
    """Inverse hyperbolic sine."""
    return ops.asinh(input)


@tensor_method
def acosh(input: Tensor) -> Tensor:
    """Inverse hyperbolic cosine; NaN below 1."""
    return ops.acosh(input)


@tensor_method
def atanh(input: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; NaN outside of [-1, 1]."""
    return ops.atanh(input)


@tensor_method
def erf(input: Tensor) -> Tensor:
    """Error function."""
    return ops.erf(input)


@tensor_method
def sqrt(input: Tensor) -> Tensor:
    """Square root; NaN below 0."""
    return ops.sqrt(input)


@tensor_method
@under_autocast(FLOAT32)
def rsqrt(input: Tensor) -> Tensor:
    """``1 / sqrt(input)``."""
    return ops.rsqrt(input)


@tensor_method
def floor(input: Tensor) -> Tensor:
    """The largest integer that is not larger."""
    return _rounded("floor", ops.floor, input)


@tensor_method
def ceil(input: Tensor) -> Tensor:
    """The smallest integer that is not smaller."""
    return _rounded("ceil", ops.ceil, input)


@tensor_method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one; or the nearest number with that many decimals."""
    decimals = one_integer("round", decimals, "decimals")
    if decimals == 0:
        return _rounded("round", ops.round, input)
    check_floating("round", input)
    scale = 10.0 ** abs(decimals)
    if decimals < 0:
        return ops.mul(ops.round(ops.div(input, scale)), scale)
    return ops.div(ops.round(ops.mul(input, scale)), scale)


def _rounded(name: str, op: Operator, input: Tensor) -> Tensor:
    """A rounding, which leaves integers as they are."""
    check_tensor(name, input)
    if input.dtype.kind == "b":
        fail(DTypeError, f"{name}: takes numbers, input is bool", "cast it first")
    return input.clone() if input.dtype.kind in "ui" else op(input)


@tensor_method
def trunc(input: Tensor) -> Tensor:
    """The integer part."""
    return _rounded("trunc", ops.trunc, input)


@tensor_method
def frac(input: Tensor) -> Tensor:
    """What the integer part leaves, with the sign of the input."""
    check_floating("frac", input)
    return ops.sub(input, ops.trunc(input))


@tensor_method
def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and the infinities replaced; by default with 0 and the dtype's largest and smallest numbers."""
    check_tensor("nan_to_num", input)
    if input.dtype.is_complex:
        return ops.view_as_complex(nan_to_num(ops.view_as_real(input), nan, posinf, neginf))
    if not input.dtype.is_floating_point:
        return input.clone()
    limit = {dt.float16: 65504.0, dt.bfloat16: 3.3895313892515355e38, dt.float32: 3.4028234663852886e38}
    largest = limit.get(input.dtype, 1.7976931348623157e308)
    result = ops.where(ops.isnan(input), nan, input)
    result = ops.where(ops.eq(input, math.inf), largest if posinf is None else posinf, result)
    return ops.where(ops.eq(input, -math.inf), -largest if neginf is None else neginf, result)


@tensor_method
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, and ``values`` at zero; 0 for NaN.

    Raises:
        DTypeError: the dtypes differ.
    """
    check_tensor("heaviside", input)
    check_tensor("heaviside", values, "values")
    if input.dtype is not values.dtype:
        given = f"{input.dtype.name} and {values.dtype.name}"
        fail(DTypeError, f"heaviside: takes tensors of one dtype, {given} given", "cast one to the other's dtype")
    step = cast(ops.gt(input, 0), input.dtype)
    return ops.where(ops.eq(input, 0), values, step)


class Frexp(NamedTuple):
    """Numbers taken apart: ``mantissa * 2 ** exponent``."""

    mantissa: Tensor
    exponent: Tensor


@tensor_method
def frexp(input: Tensor) -> Frexp:
    """Each element as a mantissa of a size in [0.5, 1) and a power of 2, int32; 0, infinities and NaN with power 0."""
    check_floating("frexp", input)
    x = cast(input.detach(), dt.float64)
    regular = ops.bitwise_and(ops.ne(x, 0), ops.lt(ops.abs(x), math.inf))
    size = ops.where(regular, ops.abs(x), 1.0)
    # Twice: the logarithm of a number just below a power of 2 may be rounded to that power.
    guess = ops.add(ops.floor(ops.log2(size)), 1.0)
    left = _scaled(size, ops.neg(guess))
    power = ops.add(guess, ops.sub(cast(ops.ge(left, 1.0), dt.float64), cast(ops.lt(left, 0.5), dt.float64)))
    exponent = ops.where(regular, power, 0.0)
    return Frexp(cast(_scaled(cast(input, dt.float64), ops.neg(exponent)), input.dtype), cast(exponent, dt.int32))


def _scaled(x: Tensor, power: Tensor) -> Tensor:
    """``x * 2 ** power``, in two steps, since the power of 2 itself may be out of range."""
    half = ops.floor(ops.mul(power, 0.5))
    return ops.mul(ops.mul(x, ops.exp2(half)), ops.exp2(ops.sub(power, half)))


@tensor_method
def signbit(input: Tensor) -> Tensor:
    """Whether each element is negative; -0.0 is."""
    check_tensor("signbit", input)
    if not input.dtype.is_floating_point:
        return ops.lt(input, 0)
    return ops.lt(ops.copysign(1.0, input), 0)


@tensor_method
def deg2rad(input: Tensor) -> Tensor:
    """Degrees to radians."""
    return ops.mul(input, math.pi / 180.0)


@tensor_method
def rad2deg(input: Tensor) -> Tensor:
    """Radians to degrees."""
    return ops.mul(input, 180.0 / math.pi)


# PyTorch's other names of the same functions.
arcsin = tensor_method(name="arcsin")(asin)
arccos = tensor_method(name="arccos")(acos)
arctan = tensor_method(name="arctan")(atan)
arcsinh = tensor_method(name="arcsinh")(asinh)
arccosh = tensor_method(name="arccosh")(acosh)
arctanh = tensor_method(name="arctanh")(atanh)
fix = tensor_method(name="fix")(trunc)
