"""Arithmetic on each element."""

from __future__ import annotations

from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions.common import Number, check_choice, check_tensor, fail
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

Operand = Tensor | Number


@tensor_method
def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input + alpha * other``."""
    return ops.add(input, other if alpha == 1 else ops.mul(other, alpha))


@tensor_method
def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input - alpha * other``."""
    return ops.sub(input, other if alpha == 1 else ops.mul(other, alpha))


@tensor_method
def rsub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``other - alpha * input``."""
    return sub(other, input, alpha=alpha)


@tensor_method
def mul(input: Operand, other: Operand) -> Tensor:
    """``input * other``."""
    return ops.mul(input, other)


@tensor_method
def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """``input / other``, a float; with a rounding mode, rounded towards zero (``trunc``) or down (``floor``)."""
    if rounding_mode is None:
        return ops.div(input, other)
    check_choice("div", "rounding_mode", rounding_mode, ("trunc", "floor"))
    if rounding_mode == "floor":
        return ops.floor_div(input, other)
    below = ops.floor_div(input, other)
    if below.dtype.is_floating_point:
        return ops.trunc(ops.div(input, other))
    # Rounded down, the quotient is one too small where it is negative and not exact.
    inexact = ops.ne(ops.mul(below, other), input)
    negative = ops.ne(ops.lt(input, 0), ops.lt(other, 0))
    return ops.add(below, ops.cast(ops.bitwise_and(inexact, negative), dtype=below.dtype))


@tensor_method
def floor_divide(input: Operand, other: Operand) -> Tensor:
    """``input // other``, rounded down."""
    return ops.floor_div(input, other)


@tensor_method
def remainder(input: Operand, other: Operand) -> Tensor:
    """``input % other``, with the sign of the divisor, as in Python."""
    return ops.remainder(input, other)


@tensor_method
def fmod(input: Operand, other: Operand) -> Tensor:
    """What division rounded towards zero leaves, with the sign of the dividend."""
    return ops.sub(input, ops.mul(div(input, other, rounding_mode="trunc"), other))


@tensor_method
def pow(input: Operand, exponent: Operand) -> Tensor:
    """``input ** exponent``."""
    if isinstance(exponent, (int, float)) and not isinstance(exponent, bool) and isinstance(input, Tensor):
        if exponent == 2:
            return ops.mul(input, input)
        if exponent == 0.5:
            return ops.sqrt(input)
    return ops.pow(input, exponent)


@tensor_method
def maximum(input: Operand, other: Operand) -> Tensor:
    """The larger of two elements; NaN where one is NaN."""
    return ops.maximum(input, other)


@tensor_method
def minimum(input: Operand, other: Operand) -> Tensor:
    """The smaller of two elements; NaN where one is NaN."""
    return ops.minimum(input, other)


@tensor_method
def atan2(input: Operand, other: Operand) -> Tensor:
    """The angle of the point (other, input), in radians from -π to π."""
    return ops.atan2(input, other)


@tensor_method
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """The length of the hypotenuse, ``sqrt(input² + other²)``."""
    return ops.sqrt(ops.add(ops.mul(input, input), ops.mul(other, other)))


@tensor_method
def neg(input: Tensor) -> Tensor:
    """``-input``."""
    return ops.neg(input)


@tensor_method
def positive(input: Tensor) -> Tensor:
    """The input itself."""
    return input


@tensor_method
def abs(input: Tensor) -> Tensor:
    """Absolute value."""
    return ops.abs(input)


@tensor_method
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return ops.sign(input)


@tensor_method
def square(input: Tensor) -> Tensor:
    """``input * input``."""
    return ops.mul(input, input)


@tensor_method
def reciprocal(input: Tensor) -> Tensor:
    """``1 / input``."""
    return ops.div(1.0, input)


@tensor_method
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Each element, but not below ``min`` and not above ``max``; NaN stays NaN.

    Raises:
        ArgumentError: neither bound is given.
    """
    check_tensor("clamp", input)
    if min is None and max is None:
        fail(ArgumentError, "clamp: neither min nor max is given", "give at least one of them")
    result = input if min is None else ops.maximum(input, min)
    return result if max is None else ops.minimum(result, max)


@tensor_method
def clamp_min(input: Tensor, min: Operand) -> Tensor:
    """Each element, but not below ``min``."""
    return clamp(input, min=min)


@tensor_method
def clamp_max(input: Tensor, max: Operand) -> Tensor:
    """Each element, but not above ``max``."""
    return clamp(input, max=max)


@tensor_method
def lerp(input: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """``input + weight * (end - input)``."""
    return ops.add(input, ops.mul(ops.sub(end, input), weight))


@tensor_method
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = ops.mul(tensor1, tensor2)
    return ops.add(input, product if value == 1 else ops.mul(product, value))


@tensor_method
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``."""
    ratio = ops.div(tensor1, tensor2)
    return ops.add(input, ratio if value == 1 else ops.mul(ratio, value))


# PyTorch's other names of the same functions.
subtract = tensor_method(name="subtract")(sub)
multiply = tensor_method(name="multiply")(mul)
divide = tensor_method(name="divide")(div)
true_divide = tensor_method(name="true_divide")(div)
negative = tensor_method(name="negative")(neg)
absolute = tensor_method(name="absolute")(abs)
clip = tensor_method(name="clip")(clamp)
arctan2 = tensor_method(name="arctan2")(atan2)
