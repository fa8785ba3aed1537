"""Comparisons, logic and bits of each element."""

from __future__ import annotations

import math
from typing import Any, overload

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError
from tracec.functions.arithmetic import Operand
from tracec.functions.common import cast, check_real, check_tensor, fail
from tracec.ir import dtype as dt
from tracec.ir.source import warn
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def eq(input: Operand, other: Operand) -> Tensor:
    """Whether elements are equal."""
    return ops.eq(input, other)


@tensor_method
def ne(input: Operand, other: Operand) -> Tensor:
    """Whether elements differ."""
    return ops.ne(input, other)


@tensor_method
def lt(input: Operand, other: Operand) -> Tensor:
    """``input < other``."""
    return ops.lt(input, other)


@tensor_method
def le(input: Operand, other: Operand) -> Tensor:
    """``input <= other``."""
    return ops.le(input, other)


@tensor_method
def gt(input: Operand, other: Operand) -> Tensor:
    """``input > other``."""
    return ops.gt(input, other)


@tensor_method
def ge(input: Operand, other: Operand) -> Tensor:
    """``input >= other``."""
    return ops.ge(input, other)


@tensor_method
def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero."""
    check_tensor("logical_not", input)
    return ops.logical_not(truth(input))


@tensor_method
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Whether both elements are nonzero."""
    return ops.bitwise_and(*_truths("logical_and", input, other))


@tensor_method
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Whether one of the elements is nonzero."""
    return ops.bitwise_or(*_truths("logical_or", input, other))


@tensor_method
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Whether exactly one of the elements is nonzero."""
    return ops.bitwise_xor(*_truths("logical_xor", input, other))


@tensor_method
def bitwise_not(input: Tensor) -> Tensor:
    """Every bit turned; for bools, logical not."""
    return ops.bitwise_not(input)


@tensor_method
def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """Bits set in both."""
    return ops.bitwise_and(input, other)


@tensor_method
def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """Bits set in one or both."""
    return ops.bitwise_or(input, other)


@tensor_method
def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """Bits set in exactly one."""
    return ops.bitwise_xor(input, other)


@tensor_method
def bitwise_left_shift(input: Operand, other: Operand) -> Tensor:
    """Bits moved up by ``other`` places."""
    return ops.shift_left(input, other)


@tensor_method
def bitwise_right_shift(input: Operand, other: Operand) -> Tensor:
    """Bits moved down by ``other`` places; the sign stays."""
    return ops.shift_right(input, other)


@tensor_method
def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""
    check_tensor("isnan", input)
    return ops.isnan(input) if input.dtype.is_floating_point else ops.ne(input, input)


@tensor_method
def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite; of a complex one either part."""
    check_tensor("isinf", input)
    if input.dtype.is_complex:
        return ops.max(isinf(ops.view_as_real(input)), axes=(input.ndim,))
    return ops.eq(ops.abs(input), math.inf) if input.dtype.is_floating_point else ops.ne(input, input)


@tensor_method
def isposinf(input: Tensor) -> Tensor:
    """Whether each element is positive infinity."""
    check_tensor("isposinf", input)
    return ops.eq(input, math.inf) if input.dtype.is_floating_point else ops.ne(input, input)


@tensor_method
def isneginf(input: Tensor) -> Tensor:
    """Whether each element is negative infinity."""
    check_tensor("isneginf", input)
    return ops.eq(input, -math.inf) if input.dtype.is_floating_point else ops.ne(input, input)


@tensor_method
def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither NaN nor infinite; of a complex one both parts."""
    check_tensor("isfinite", input)
    if input.dtype.is_complex:
        return ops.min(isfinite(ops.view_as_real(input)), axes=(input.ndim,))
    return ops.lt(ops.abs(input), math.inf) if input.dtype.is_floating_point else ops.eq(input, input)


@tensor_method
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether ``|input - other| <= atol + rtol * |other|``; infinities are close to themselves.

    Raises:
        ArgumentError: a tolerance is negative.
        DTypeError: the two have different dtypes.
    """
    _check_same(input, other, "isclose")
    for what, tolerance in (("rtol", rtol), ("atol", atol)):
        check_real("isclose", tolerance, what)
        if tolerance < 0:
            fail(
                ArgumentError,
                f"isclose: {what} must be greater than or equal to zero, {tolerance} given",
                "it is what elements may differ by",
            )
    equal = ops.eq(input, other)
    if input.dtype.kind in "bui":
        input, other = cast(input, dt.float64), cast(other, dt.float64)
    allowed = ops.add(ops.mul(ops.abs(other), rtol), atol)
    near = ops.bitwise_and(ops.le(ops.abs(ops.sub(input, other)), allowed), isfinite(other))
    result = ops.bitwise_or(equal, near)
    if equal_nan:
        result = ops.bitwise_or(result, ops.bitwise_and(ops.isnan(input), ops.isnan(other)))
    return result


@tensor_method
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether all elements are close, as `isclose` says.

    Args:
        input: Any tensor.
        other: One of the same dtype that broadcasts with it.
        rtol: How far apart elements may be, as a share of that of ``other``;
        atol: and how far in any case.
        equal_nan: Whether NaN is close to NaN.

    Returns:
        A bool.
    """
    close = isclose(input, other, rtol, atol, equal_nan)
    return bool(ops.min(close, axes=tuple(range(close.ndim)))) if close.numel() else True


@tensor_method
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    check_tensor("equal", input)
    check_tensor("equal", other, "other")
    if tuple(input.shape) != tuple(other.shape):
        return False
    same = ops.eq(input, other)
    return bool(ops.min(same, axes=tuple(range(same.ndim)))) if same.numel() else True


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...
@overload
def where(condition: Tensor, input: Operand, other: Operand) -> Tensor: ...
def where(condition: Tensor, input: Operand | None = None, other: Operand | None = None) -> Any:
    """``input`` where the condition holds, else ``other``; without these the positions where it does.

    Args:
        condition: Bools; uint8 is read as such, with a warning.
        input: A tensor or a number.
        other: A tensor or a number. Dtypes are promoted to a common one.

    Returns:
        A tensor; of the condition alone a tuple of positions for each axis, as ``nonzero(as_tuple=True)`` gives.

    Raises:
        ArgumentTypeError: one value is given without the other.
        DTypeError: the condition is of neither bools nor uint8.
    """
    check_tensor("where", condition, "condition")
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if input is None or other is None:
        fail(ArgumentTypeError, "where: takes a condition alone, or with two values", "give both values")
    if condition.dtype is dt.uint8:
        warn("where: a uint8 condition is deprecated; use a tensor of bools", UserWarning)
        condition = ops.ne(condition, 0)
    if condition.dtype is not dt.bool_:
        fail(DTypeError, f"where: the condition is {condition.dtype.name}, not bool", "compare it, e.g. condition != 0")
    return ops.where(condition, input, other)


@tensor_method(name="where")
def where_method(input: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """``input`` where the condition holds, else ``other``: `where` as a method."""
    return where(condition, input, other)


def _truths(name: str, input: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    check_tensor(name, input)
    check_tensor(name, other, "other")
    return truth(input), truth(other)


def truth(x: Tensor) -> Tensor:
    """Whether each element is nonzero."""
    return x if x.dtype is dt.bool_ else ops.ne(x, 0)


def _check_same(input: Tensor, other: Tensor, name: str) -> None:
    check_tensor(name, input)
    check_tensor(name, other, "other")
    if input.dtype is not other.dtype:
        fail(
            DTypeError,
            f"{name}: dtypes {input.dtype.name} and {other.dtype.name} differ",
            "cast one to the other's dtype",
        )


# PyTorch's other names of the same functions.
not_equal = tensor_method(name="not_equal")(ne)
less = tensor_method(name="less")(lt)
less_equal = tensor_method(name="less_equal")(le)
greater = tensor_method(name="greater")(gt)
greater_equal = tensor_method(name="greater_equal")(ge)
