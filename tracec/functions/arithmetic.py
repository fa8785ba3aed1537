"""Arithmetic on each element."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.functions.common import Number, cast, check_choice, check_number, check_real, check_tensor, expanded, fail
from tracec.ir import dtype as dt
from tracec.ir.number import Number as Watched
from tracec.ir.operator import Operator
from tracec.ir.types import broadcast_shapes
from tracec.record.arithmetic import check_divisor, check_power
from tracec.record.autocast import FLOAT32, WIDEST, under_autocast
from tracec.record.compositions import composed
from tracec.record.method import tensor_method
from tracec.record.promote import result_type_of
from tracec.record.tensor import Tensor

Operand = Tensor | Number


@tensor_method
def add(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input + alpha * other``.

    Raises:
        DTypeError: ``alpha`` is a float or complex where the operands are not, or a bool where they are none.
    """
    return ops.add(input, times("add", input, other, alpha))


@tensor_method
def sub(input: Operand, other: Operand, *, alpha: Number = 1) -> Tensor:
    """``input - alpha * other``; of bools there is none.

    Raises:
        DTypeError: ``alpha`` is a float or complex where the operands are not, or a bool where they are none.
    """
    return ops.sub(input, times("sub", input, other, alpha))


def times(name: str, input: Operand, other: Operand, alpha: Number) -> Operand:
    """The second operand of a sum, with its factor."""
    if alpha.__class__ is int and alpha == 1:
        return other
    highest = max((_kind_of(name, x) for x in (input, other)), key="buifc".index)
    given = _kind_of(name, alpha)
    if (given == "f" and highest in "bui") or (given == "c" and highest != "c") or (given == "b" and highest != "b"):
        fail(
            DTypeError,
            f"{name}: alpha={alpha} is of another category than the operands",
            "only floats take a float, and only bools a bool",
        )
    if highest == "b":
        alpha = bool(alpha)
    return other if alpha == 1 else ops.mul(other, alpha)


def _kind_of(name: str, x: Any) -> str:
    """The letter of a category: of an operand or a factor."""
    if isinstance(x, Tensor):
        return x.dtype.kind
    if isinstance(x, (np.ndarray, np.generic)):
        return dt.of_numpy(x.dtype).kind
    for kind, letter in _KINDS.items():
        if isinstance(x, kind):
            return letter
    return fail(
        ArgumentTypeError,
        f"{name}: takes tensors and numbers, {type(x).__name__} given",
        "make a tensor with tracec.tensor(...)",
    )


#: In the order in which they are asked for: a bool is an int to Python.
_KINDS = {bool: "b", int: "i", float: "f", complex: "c"}


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
    check_divisor("div", input, other)
    if rounding_mode == "floor":
        return ops.floor_div(input, other)
    left = ops.fmod(input, other)
    if left.dtype.is_floating_point:
        return ops.trunc(ops.div(input, other))
    return ops.floor_div(ops.sub(input, left), other)


@tensor_method
def floor_divide(input: Operand, other: Operand) -> Tensor:
    """``input // other``, rounded down."""
    check_divisor("floor_divide", input, other)
    return ops.floor_div(input, other)


@tensor_method
def remainder(input: Operand, other: Operand) -> Tensor:
    """``input % other``, with the sign of the divisor, as in Python."""
    check_divisor("remainder", input, other)
    return ops.remainder(input, other)


@tensor_method
def fmod(input: Operand, other: Operand) -> Tensor:
    """What division rounded towards zero leaves, with the sign of the dividend."""
    check_divisor("fmod", input, other)
    return ops.fmod(input, other)


@tensor_method
@under_autocast(FLOAT32)
def pow(input: Operand, exponent: Operand) -> Tensor:
    """``input ** exponent``.

    Raises:
        ArgumentError: a negative integer as the power of integers.
    """
    if isinstance(exponent, (int, float)) and not isinstance(exponent, bool) and isinstance(input, Tensor):
        check_power(input, exponent)
        if isinstance(exponent, Watched):  # the function does not go by what it is
            return ops.pow(input, exponent)
        if exponent == 2 and input.dtype.kind in ("ui" if isinstance(exponent, int) else "") + "fc":
            return ops.mul(input, input)
        if exponent == 0.5:
            return ops.sqrt(input)
    return ops.pow(input, exponent)


@tensor_method
def float_power(input: Operand, exponent: Operand) -> Tensor:
    """``input ** exponent`` in float64, whatever the operands are; in complex128 where one is complex."""
    if not isinstance(input, Tensor):
        check_tensor("float_power", exponent, "exponent")
    mixed = [x.dtype.is_complex if isinstance(x, Tensor) else isinstance(x, complex) for x in (input, exponent)]
    wide = dt.complex128 if any(mixed) else dt.float64
    base, power = (cast(x, wide) if isinstance(x, Tensor) else x for x in (input, exponent))
    return ops.pow(float(base) if isinstance(base, int) else base, power)


@tensor_method
def ldexp(input: Tensor, other: Operand) -> Tensor:
    """``input * 2 ** other``, a float."""
    check_tensor("ldexp", input)
    if isinstance(other, Tensor):
        return ops.mul(input, ops.exp2(other))
    check_real("ldexp", other, "other")
    power: Any = other  # a real number
    return ops.mul(input, math.inf if power >= 1024 else 2.0**power)


@tensor_method
def copysign(input: Tensor, other: Operand) -> Tensor:
    """The size of one element with the sign of the other, -0.0 included; floats."""
    return ops.copysign(input, other)


@tensor_method
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number of the dtype after one element on the way to the other.

    Raises:
        DTypeError: the operands are no floats.
    """
    check_tensor("nextafter", input)
    check_tensor("nextafter", other, "other")
    common = result_type_of(input, other)
    if not common.is_floating_point:
        fail(DTypeError, f"nextafter: takes floats, {common.name} given", "cast the operands first")
    if common.itemsize == 2:
        return _next_of_half(cast(input, common), cast(other, common))
    return ops.nextafter(input, other)


def _next_of_half(x: Tensor, y: Tensor) -> Tensor:
    """`nextafter` of 16-bit floats, by their bits: those of larger numbers of one sign are larger integers."""
    shape = broadcast_shapes(tuple(x.shape), tuple(y.shape))
    x, y = expanded(x, shape), expanded(y, shape)
    bits = ops.view_bits(x.detach(), dtype=dt.int16)
    outwards = ops.eq(ops.gt(y, x), ops.gt(x, 0.0))
    step = ops.add(bits, ops.where(outwards, ops.full_like(bits, 1), ops.full_like(bits, -1)))
    least = ops.where(ops.gt(y, 0.0), ops.full_like(bits, 1), ops.full_like(bits, -0x7FFF))
    next_ = ops.view_bits(ops.where(ops.eq(x, 0.0), least, step), dtype=x.dtype)
    # Gradients go through x; adding the difference, which float32 holds, would lose the sign of zero, and infinities.
    wide, far = cast(x, dt.float32), cast(next_, dt.float32)
    summed = cast(ops.add(wide, ops.sub(far, wide.detach())), x.dtype)
    is_plain = ops.bitwise_and(ops.lt(ops.abs(wide), float("inf")), ops.ne(far, 0.0))
    found = ops.where(is_plain, summed, next_)
    holes = ops.bitwise_or(ops.ne(x, x), ops.ne(y, y))
    return ops.where(ops.eq(x, y), y.detach(), ops.where(holes, ops.full_like(x, float("nan")), found))


@tensor_method
def gcd(input: Tensor, other: Tensor) -> Tensor:
    """The greatest common divisor, not negative."""
    return ops.gcd(input, other)


@tensor_method
def lcm(input: Tensor, other: Tensor) -> Tensor:
    """The least common multiple, not negative."""
    return ops.lcm(input, other)


@tensor_method
def maximum(input: Operand, other: Operand) -> Tensor:
    """The larger of two elements; NaN where one is NaN."""
    return ops.maximum(input, other)


@tensor_method
def minimum(input: Operand, other: Operand) -> Tensor:
    """The smaller of two elements; NaN where one is NaN."""
    return ops.minimum(input, other)


@tensor_method
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two elements, or the one that is a number where the other is NaN; of equal ones the first."""
    return _not_nan("fmax", input, other)


@tensor_method
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two elements, or the one that is a number where the other is NaN; of equal ones the first."""
    return _not_nan("fmin", input, other)


def _not_nan(name: str, input: Tensor, other: Tensor) -> Tensor:
    check_tensor(name, input)
    check_tensor(name, other, "other")
    first = (ops.ge if name == "fmax" else ops.le)(input, other)
    if other.dtype.is_floating_point:
        first = ops.bitwise_or(first, ops.isnan(other))
    return ops.where(first, input, other)


@tensor_method
@under_autocast(WIDEST)
def atan2(input: Operand, other: Operand) -> Tensor:
    """The angle of the point (other, input), in radians from -π to π."""
    return ops.atan2(input, other)


@tensor_method
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """The length of the hypotenuse, ``sqrt(input² + other²)``, also where the squares overflow."""
    return ops.hypot(input, other)


@tensor_method
def neg(input: Tensor) -> Tensor:
    """``-input``."""
    return ops.neg(input)


@tensor_method
def positive(input: Tensor) -> Tensor:
    """The input itself; of bools there is none.

    Raises:
        DTypeError: the input is of bools.
    """
    check_tensor("positive", input)
    if input.dtype.kind == "b":
        fail(DTypeError, "positive: The `+` operator, on a bool tensor is not supported", "cast it first")
    return input


@tensor_method
def abs(input: Tensor) -> Tensor:
    """Absolute value."""
    return ops.abs(input)


@tensor_method
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 of NaN, and of bools themselves."""
    check_tensor("sign", input)
    if input.dtype.kind == "b":
        return input.clone()
    return ops.where(ops.isnan(input), 0.0, ops.sign(input)) if input.dtype.is_floating_point else ops.sign(input)


@tensor_method
def square(input: Tensor) -> Tensor:
    """``input * input``; of bools int64."""
    return pow(input, 2)


@tensor_method
@under_autocast(FLOAT32)
def reciprocal(input: Tensor) -> Tensor:
    """``1 / input``."""
    return ops.div(1.0, input)


@tensor_method
def clamp(input: Tensor, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Each element, but not below ``min`` and not above ``max``; NaN stays NaN, and a bound of NaN gives NaN.

    An element that is equal to a bound has the whole gradient. Where ``min`` is above ``max`` the result is ``max``.

    Args:
        input: Any real tensor.
        min: The lower bound, a number or a tensor; None for none.
        max: The upper bound, likewise.

    Raises:
        ArgumentError: neither bound is given.
    """
    check_tensor("clamp", input)
    if min is None and max is None:
        fail(ArgumentError, "clamp: neither min nor max is given", "give at least one of them")
    if _is_bound(min) and _is_bound(max):
        found: Tensor = _clamp(input, low=min, high=max)
        return found
    result = input if min is None else _bounded(input, min, ops.lt)
    return result if max is None else _bounded(result, max, ops.gt)


def _is_bound(x: Any) -> bool:
    return x is None or (type(x) is float and x == x) or (type(x) is int and builtins.abs(x) <= 1 << 53)


def _clamp_of_arrays(*, low: float | None, high: float | None) -> Callable[..., Any]:
    # NumPy takes -0.0 for no less than 0.0 where both bounds are numbers.
    bounds = -math.inf if low is None else low, math.inf if high is None else high
    return lambda x: x.clip(*map(x.dtype.type, bounds))


@composed("clamp", eager=_clamp_of_arrays)
def _clamp(x: Any, low: float | None, high: float | None) -> Any:
    x = x if low is None else ops.where(ops.lt(x, low), low, x)
    return x if high is None else ops.where(ops.gt(x, high), high, x)


def _bounded(x: Tensor, bound: Operand, beyond: Operator) -> Tensor:
    outside = beyond(x, bound)
    if isinstance(bound, Tensor):
        if bound.dtype.is_floating_point:
            outside = ops.bitwise_or(outside, ops.isnan(bound))
    elif bound != bound:
        return ops.add(x, bound)
    return ops.where(outside, bound, x)


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
    """``input + weight * (end - input)``; exactly ``end`` at weight 1.

    Raises:
        DTypeError: the dtypes of the tensors differ.
    """
    check_tensor("lerp", input)
    check_tensor("lerp", end, "end")
    for what, x in (("end", end), ("weight", weight)):
        # A weight that is a scalar tensor counts as a number.
        if isinstance(x, Tensor) and x.dtype is not input.dtype and (what == "end" or x.ndim):
            given = f"{what} is {x.dtype.name}, input {input.dtype.name}"
            fail(DTypeError, f"lerp: expected dtype {input.dtype.name} for `{what}`: {given}", "cast one of them")
    way = ops.sub(end, input)
    if isinstance(weight, Tensor):
        from_start, from_end = ops.mul(way, weight), ops.mul(way, ops.sub(1.0, weight))
        return ops.where(ops.lt(ops.abs(weight), 0.5), ops.add(input, from_start), ops.sub(end, from_end))
    (check_number if input.dtype.is_complex else check_real)("lerp", weight, "weight")
    if builtins.abs(weight) < 0.5:
        return ops.add(input, ops.mul(way, weight))
    return ops.sub(end, ops.mul(way, 1.0 - weight))


@tensor_method
@under_autocast(WIDEST)
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 * tensor2``."""
    product = ops.mul(tensor1, tensor2)
    return ops.add(input, product if value == 1 else ops.mul(product, value))


@tensor_method
@under_autocast(WIDEST)
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Number = 1) -> Tensor:
    """``input + value * tensor1 / tensor2``.

    Raises:
        DTypeError: both operands of the quotient are integers.
    """
    if isinstance(tensor1, Tensor) and isinstance(tensor2, Tensor):
        if not (tensor1.dtype.is_differentiable or tensor2.dtype.is_differentiable):
            fail(
                DTypeError,
                f"addcdiv: takes no quotient of integers, {tensor1.dtype.name} and {tensor2.dtype.name} given",
                "cast one of them with .float() first",
            )
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
