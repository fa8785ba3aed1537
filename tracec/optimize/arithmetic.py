"""Rules over elementwise operators.

They hold bit for bit, for infinities, NaN and both zeros, unless a rule says otherwise. What they do not
say is as much to the point: for floats ``x * 0`` is not 0 (NaN, infinity), ``x + 0.0`` is not x (for -0.0),
and ``0 - x`` is not ``-x`` (for 0.0).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tracec import ops
from tracec.ir.dtype import DType
from tracec.ir.node import Node, constant
from tracec.ir.operator import OPERATORS
from tracec.ir.rewrite import C, D, X, Y, Z, applied, named, rule
from tracec.optimize.fold import full


def fit(x: Node, node: Node) -> Node | None:
    """x in the shape of the node that it takes the place of; None where the dtypes differ."""
    if x.dtype is not node.dtype:
        return None
    return x if x.shape == node.shape else expand(x, node.shape)


def expand(x: Node, shape: tuple[int, ...]) -> Node:
    """x broadcast to a shape, or itself."""
    result: Node = x if x.shape == shape else ops.expand(x, shape=shape)
    return result


def value(c: Node) -> Any:
    """A constant's value."""
    return c.param("value")


def _integer(x: Node) -> bool:
    return x.dtype.kind in "iu"


@rule(ops.add(X, C))
def add_zero(x: Node, c: Node, node: Node) -> Node | None:
    """For floats only -0.0 is neutral: -0.0 + 0.0 is 0.0."""
    neutral = value(c) == 0 and (_integer(x) or (x.dtype.kind == "f" and np.signbit(value(c))))
    return fit(x, node) if neutral else None


@rule(ops.sub(X, 0))
def sub_zero(x: Node, node: Node) -> Node | None:
    return fit(x, node)


@rule(ops.mul(X, 1), ops.div(X, 1), ops.pow(X, 1))
def one_is_neutral(x: Node, node: Node) -> Node | None:
    return fit(x, node)


@rule(ops.mul(X, 0))
def integer_times_zero(node: Node) -> Node | None:
    return full(node, 0) if _integer(node) else None


@rule(ops.sub(X, X))
def integer_minus_itself(node: Node) -> Node | None:
    return full(node, 0) if _integer(node) else None


@rule(ops.neg(ops.neg(X)), ops.bitwise_not(ops.bitwise_not(X)))
def double_negation(x: Node) -> Node:
    return x


@rule(ops.logical_not(ops.logical_not(X)))
def double_not(x: Node, node: Node) -> Node | None:
    return fit(x, node)


@rule(ops.logical_not(ops.eq(X, Y)))
def not_equal(x: Node, y: Node) -> Any:
    return ops.ne(x, y)


@rule(ops.logical_not(ops.ne(X, Y)))
def not_different(x: Node, y: Node) -> Any:
    return ops.eq(x, y)


@rule(ops.mul(X, -1))
def times_minus_one(x: Node) -> Any:
    return ops.neg(x)


@rule(ops.add(X, ops.neg(Y)))
def add_negated(x: Node, y: Node) -> Any:
    return ops.sub(x, y)


@rule(ops.sub(X, ops.neg(Y)))
def sub_negated(x: Node, y: Node) -> Any:
    return ops.add(x, y)


@rule(ops.mul(ops.neg(X), ops.neg(Y)))
def mul_both_negated(x: Node, y: Node) -> Any:
    return ops.mul(x, y)


@rule(ops.div(ops.neg(X), ops.neg(Y)))
def div_both_negated(x: Node, y: Node) -> Any:
    return ops.div(x, y)


@rule(ops.mul(ops.neg(X), C), ops.neg(ops.mul(X, C)))
def negate_factor(x: Node, c: Node, node: Node) -> Any:
    if not node.dtype.is_signed:
        return None
    return ops.mul(x, _wrapped(-value(c), c) if _integer(c) else constant(-value(c), c.type))


@rule(ops.mul(ops.neg(X), Y))
def neg_out_of_mul(x: Node, y: Node) -> Any:
    """Outside it may meet another negation, an addition or a constant factor. Of complex zeros it changes signs."""
    return None if x.dtype.is_complex else ops.neg(ops.mul(x, y))


@rule(ops.div(ops.neg(X), Y), ops.div(X, ops.neg(Y)))
def neg_out_of_div(x: Node, y: Node) -> Any:
    return None if x.dtype.is_complex else ops.neg(ops.div(x, y))


@rule(ops.add(ops.add(X, C), D))
def integer_add_constants(x: Node, c: Node, d: Node, node: Node) -> Any:
    """Not for floats, where it rounds differently."""
    return ops.add(x, _wrapped(value(c) + value(d), c)) if _integer(node) else None


@rule(ops.mul(ops.mul(X, C), D))
def integer_mul_constants(x: Node, c: Node, d: Node, node: Node) -> Any:
    """Not for floats, where it rounds differently."""
    return ops.mul(x, _wrapped(value(c) * value(d), c)) if _integer(node) else None


def _wrapped(number: int, like: Node) -> Node:
    """An integer constant, wrapped around as arithmetic of its dtype does."""
    bits = 8 * like.dtype.itemsize
    number %= 1 << bits
    return constant(number - (1 << bits) if like.dtype.is_signed and number >> (bits - 1) else number, like.type)


@rule(ops.div(X, C))
def div_by_power_of_two(x: Node, c: Node) -> Any:
    """Only there is the reciprocal exact."""
    mantissa, exponent = math.frexp(value(c))
    safe = {2: 12, 4: 100, 8: 1000}[c.dtype.itemsize]
    if abs(mantissa) != 0.5 or abs(exponent) > safe:
        return None
    return ops.mul(x, constant(1 / value(c), c.type))


@rule(ops.pow(X, 0))
def power_zero(node: Node) -> Node:
    """Of NaN too."""
    return full(node, 1)


@rule(ops.pow(X, 2))
def square(x: Node) -> Any:
    return ops.mul(x, x)


@rule(ops.pow(X, 3))
def cube(x: Node) -> Any:
    """Two roundings where a correctly rounded power has one."""
    return ops.mul(ops.mul(x, x), x)


@rule(ops.pow(X, -1))
def power_minus_one(x: Node) -> Any:
    return ops.div(constant(1, x.type), x) if x.dtype.is_floating_point else None


@rule(ops.pow(X, 0.5))
def power_one_half(x: Node) -> Any:
    """Where x is known not to be negative: of -inf and -0.0 the power is inf and 0.0, the root nan and -0.0."""
    return ops.sqrt(x) if x.dtype.is_floating_point and non_negative(x) else None


@rule(ops.pow(X, -0.5))
def power_minus_one_half(x: Node) -> Any:
    """Where x is known not to be negative, as for the square root."""
    return ops.rsqrt(x) if x.dtype.is_floating_point and non_negative(x) else None


def non_negative(x: Node, depth: int = 8) -> bool:
    """Whether no element is below zero or -0.0, as far as a short look tells; NaN may be."""
    if depth == 0 or x.dtype.kind in "ic":
        return False
    match x.op.name:
        case "constant":
            return not np.signbit(float(value(x)))
        case "abs" | "exp" | "sigmoid":
            return True
        case "mul" if x.inputs[0] is x.inputs[1]:
            return True
        case "add" | "mul" | "div" | "sum" | "max" | "min" | "expand" | "reshape" | "transpose" | "sqrt" | "slice":
            return all(non_negative(i, depth - 1) for i in x.inputs)
        case "cast":
            return x.inputs[0].dtype.kind in "bu" or non_negative(x.inputs[0], depth - 1)
        case _:
            return False


@rule(ops.maximum(X, X), ops.minimum(X, X), ops.bitwise_and(X, X), ops.bitwise_or(X, X))
def both_the_same(x: Node) -> Node:
    return x


@rule(ops.where(X, Y, Y))
def where_both_the_same(y: Node, node: Node) -> Node | None:
    return fit(y, node)


@rule(ops.where(C, X, Y))
def where_known(c: Node, x: Node, y: Node, node: Node) -> Node | None:
    return fit(x if value(c) else y, node)


@rule(ops.where(ops.logical_not(X), Y, Z))
def where_not(x: Node, y: Node, z: Node) -> Any:
    return ops.where(x, z, y) if x.dtype.kind == "b" else None


_ODD = (ops.erf, ops.sin, ops.tan, ops.asin, ops.atan, ops.sinh, ops.tanh, ops.sign, ops.round, ops.trunc)


@rule(*(f(ops.neg(X)) for f in _ODD))
def negation_out_of_odd(x: Node, node: Node) -> Any:
    """So that f(x) and f(-x) are computed once."""
    return ops.neg(node.op(x)) if x.dtype.is_floating_point else None


@rule(*(f(ops.mul(X, C)) for f in _ODD))
def sign_out_of_odd(x: Node, c: Node, node: Node) -> Any:
    """Like `negation_out_of_odd`, where the sign went into a factor."""
    if not c.dtype.is_floating_point or not np.signbit(value(c)) or math.isnan(value(c)):
        return None
    return ops.neg(node.op(ops.mul(x, constant(-value(c), c.type))))


@rule(ops.cos(ops.neg(X)))
def negation_out_of_even(x: Node) -> Any:
    return ops.cos(x)


@rule(ops.abs(ops.neg(X)))
def abs_negated(x: Node) -> Any:
    return ops.abs(x)


@rule(ops.abs(named("inner", ops.abs(X))))
def abs_twice(inner: Node) -> Node:
    return inner


@rule(applied("cast"))
def cast_to_same(node: Node) -> Node | None:
    x = node.inputs[0]
    return x if x.dtype is node.dtype else None


@rule(ops.cast(named("inner", ops.cast(X))))
def cast_through_wider(x: Node, inner: Node, node: Node) -> Any:
    """A cast that loses nothing can be passed by."""
    if not widens(x.dtype, inner.dtype):
        return None
    # Floats out of an integer's range convert differently from integers that wrap around.
    wraps = inner.dtype.is_differentiable and node.dtype.kind in "iu" and not widens(x.dtype, node.dtype)
    return None if wraps and x.dtype.kind != "f" else ops.cast(x, dtype=node.dtype)


def widens(a: DType, b: DType) -> bool:
    """Whether every value of ``a`` is a value of ``b``."""
    if a is b or a.kind == "b":
        return True
    if b.is_complex:
        return widens(a.to_real(), b.to_real())
    if a.is_complex:
        return False
    bits = 8 * a.itemsize - (a.kind == "i")
    if b.kind == "f":
        digits = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53}
        if a.kind == "f":
            return a.itemsize < b.itemsize
        return bits <= digits[b.short]
    return (
        b.kind != "b"
        and a.kind != "f"
        and (b.kind == "i" or a.kind == "u")
        and bits <= 8 * b.itemsize - (b.kind == "i")
    )


_ELEMENTWISE = [op.name for op in OPERATORS.values() if op.family == "elementwise"]


@rule(*map(applied, _ELEMENTWISE))
def expand_last(node: Node) -> Any:
    """Elementwise operators broadcast by themselves: compute on what was expanded, and expand the result."""
    if not any(i.op.name == "expand" for i in node.inputs):
        return None
    operands = [i.inputs[0] if i.op.name == "expand" else i for i in node.inputs]
    return expand(node.op(*operands, **dict(node.params)), node.shape)


RULES = (
    add_zero, sub_zero, one_is_neutral, integer_times_zero, integer_minus_itself,
    double_negation, double_not, not_equal, not_different, times_minus_one,
    add_negated, sub_negated, mul_both_negated, div_both_negated, negate_factor, neg_out_of_mul, neg_out_of_div,
    integer_add_constants, integer_mul_constants, div_by_power_of_two,
    power_zero, square, cube, power_minus_one, power_one_half, power_minus_one_half,
    both_the_same, where_both_the_same, where_known, where_not,
    negation_out_of_odd, sign_out_of_odd, negation_out_of_even, abs_negated, abs_twice,
    cast_to_same, cast_through_wider, expand_last,
)  # fmt: skip
