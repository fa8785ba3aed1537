"""Functions of each element: exponentials, logarithms, trigonometry, rounding."""

from __future__ import annotations

import math

from tracec import ops
from tracec.functions.arithmetic import Operand
from tracec.functions.common import cast
from tracec.ir import dtype as dt
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def exp(input: Tensor) -> Tensor:
    """e to the power of each element."""
    return ops.exp(input)


@tensor_method
def exp2(input: Tensor) -> Tensor:
    """2 to the power of each element."""
    return ops.exp(ops.mul(input, math.log(2.0)))


@tensor_method
def expm1(input: Tensor) -> Tensor:
    """``exp(input) - 1``, precise near 0."""
    return ops.expm1(input)


@tensor_method
def log(input: Tensor) -> Tensor:
    """Natural logarithm."""
    return ops.log(input)


@tensor_method
def log1p(input: Tensor) -> Tensor:
    """``log(1 + input)``, precise near 0."""
    return ops.log1p(input)


@tensor_method
def log2(input: Tensor) -> Tensor:
    """Logarithm to base 2."""
    return ops.mul(ops.log(input), 1.0 / math.log(2.0))


@tensor_method
def log10(input: Tensor) -> Tensor:
    """Logarithm to base 10."""
    return ops.mul(ops.log(input), 1.0 / math.log(10.0))


@tensor_method
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """``log(exp(input) + exp(other))`` without overflow."""
    larger = ops.maximum(input, other)
    gap = ops.neg(ops.abs(ops.sub(input, other)))
    # Two equal infinities have no gap to subtract.
    same = ops.eq(input, other)
    return ops.where(same, ops.add(larger, math.log(2.0)), ops.add(larger, ops.log1p(ops.exp(gap))))


@tensor_method
def xlogy(input: Operand, other: Operand) -> Tensor:
    """``input * log(other)``, and 0 where input is 0, whatever other is."""
    zero = ops.eq(input, 0)
    known = ops.where(zero, 1.0, other)
    return ops.mul(input, ops.log(known))


@tensor_method
def sin(input: Tensor) -> Tensor:
    """Sine of radians."""
    return ops.sin(input)


@tensor_method
def cos(input: Tensor) -> Tensor:
    """Cosine of radians."""
    return ops.cos(input)


@tensor_method
def tan(input: Tensor) -> Tensor:
    """Tangent of radians."""
    return ops.tan(input)


@tensor_method
def asin(input: Tensor) -> Tensor:
    """Inverse sine, in radians."""
    return ops.asin(input)


@tensor_method
def acos(input: Tensor) -> Tensor:
    """Inverse cosine, in radians."""
    return ops.acos(input)


@tensor_method
def atan(input: Tensor) -> Tensor:
    """Inverse tangent, in radians."""
    return ops.atan(input)


@tensor_method
def sinh(input: Tensor) -> Tensor:
    """Hyperbolic sine."""
    return ops.sinh(input)


@tensor_method
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
    size = ops.abs(input)
    grown = ops.log1p(ops.add(size, ops.div(ops.mul(size, size), ops.add(ops.sqrt(ops.add(size * size, 1)), 1))))
    return ops.mul(ops.sign(input), grown)


@tensor_method
def acosh(input: Tensor) -> Tensor:
    """Inverse hyperbolic cosine; NaN below 1."""
    return ops.log(ops.add(input, ops.sqrt(ops.sub(ops.mul(input, input), 1))))


@tensor_method
def atanh(input: Tensor) -> Tensor:
    """Inverse hyperbolic tangent; NaN outside of [-1, 1]."""
    return ops.mul(ops.sub(ops.log1p(input), ops.log1p(ops.neg(input))), 0.5)


@tensor_method
def erf(input: Tensor) -> Tensor:
    """Error function."""
    return ops.erf(input)


@tensor_method
def erfc(input: Tensor) -> Tensor:
    """``1 - erf(input)``."""
    return ops.sub(1.0, ops.erf(input))


@tensor_method
def sqrt(input: Tensor) -> Tensor:
    """Square root; NaN below 0."""
    return ops.sqrt(input)


@tensor_method
def rsqrt(input: Tensor) -> Tensor:
    """``1 / sqrt(input)``."""
    return ops.rsqrt(input)


@tensor_method
def floor(input: Tensor) -> Tensor:
    """The largest integer that is not larger."""
    return ops.floor(input) if input.dtype.is_floating_point else input


@tensor_method
def ceil(input: Tensor) -> Tensor:
    """The smallest integer that is not smaller."""
    return ops.ceil(input) if input.dtype.is_floating_point else input


@tensor_method
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to the even one; or the nearest number with that many decimals."""
    if not input.dtype.is_floating_point:
        return input
    if decimals == 0:
        return ops.round(input)
    scale = 10.0**decimals
    return ops.div(ops.round(ops.mul(input, scale)), scale)


@tensor_method
def trunc(input: Tensor) -> Tensor:
    """The integer part."""
    return ops.trunc(input) if input.dtype.is_floating_point else input


@tensor_method
def frac(input: Tensor) -> Tensor:
    """What the integer part leaves, with the sign of the input."""
    return ops.sub(input, trunc(input))


@tensor_method
def nan_to_num(input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and the infinities replaced; by default with 0 and the dtype's largest and smallest numbers."""
    if not input.dtype.is_floating_point:
        return input
    limit = {dt.float16: 65504.0, dt.bfloat16: 3.3895313892515355e38, dt.float32: 3.4028234663852886e38}
    largest = limit.get(input.dtype, 1.7976931348623157e308)
    result = ops.where(ops.isnan(input), nan, input)
    result = ops.where(ops.eq(input, math.inf), largest if posinf is None else posinf, result)
    return ops.where(ops.eq(input, -math.inf), -largest if neginf is None else neginf, result)


@tensor_method
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below zero, 1 above, and ``values`` at zero."""
    step = cast(ops.gt(input, 0), input.dtype)
    return ops.where(ops.eq(input, 0), values, step)


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
