"""Python's operators on tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir.number import Number
from tracec.ir.operator import Operator
from tracec.record.cell import Cell, new_tensor
from tracec.record.check import check_values
from tracec.record.overriding import operator, overrides
from tracec.record.write import assign, check_writable

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

_OPERANDS = (Cell, int, float, bool, complex, np.generic, np.ndarray)


#: Types that know nothing of tensors. Others may know what to do with one.
_NEVER = (list, tuple, dict, set, str, bytes, type(None))


def _apply(op: Operator, a: Any, b: Any) -> Any:
    if not isinstance(a, _OPERANDS) or not isinstance(b, _OPERANDS):
        return _refuse(op.name, a, b)
    return op(a, b)


def _refuse(name: str, a: Any, b: Any) -> Any:
    """Leave the operation to the other type, or tell the user where there can be no such operation."""
    tensor, other = (a, b) if isinstance(a, Cell) else (b, a)
    if overrides(other):
        return operator(name, a, b)
    # Python itself compares with anything, and repeats sequences by integers.
    repeats = name == "mul" and tensor._array.size == 1 and tensor._array.dtype.kind in "biu"
    if name in ("eq", "ne") or repeats or not isinstance(other, _NEVER):
        return NotImplemented
    raise ArgumentTypeError(
        f"{name}: takes tensors and numbers, {type(other).__name__} given",
        hint="make a tensor with tracec.tensor(...)",
    )


def _into(op: Operator, a: Any, b: Any, name: str) -> Any:
    check_writable(a, name)
    value = _apply(op, a, b)
    return value if value is NotImplemented else assign(a, value, name)


def check_power(base: Any, exponent: Any) -> None:
    """Refuse negative integers as the power of a tensor of integers.

    Raises:
        ArgumentError: that is what is given.
    """
    whole = exponent.__class__ is int and isinstance(base, Cell) and base._array.dtype.kind in "bui"
    if whole and exponent < 0:
        raise ArgumentError(
            f"pow: Integers to negative integer powers are not allowed, {base._array.dtype} ** {exponent} given",
            hint="cast the base with .float() first",
        )


def check_divisor(name: str, a: Any, b: Any) -> None:
    """Refuse to divide integers by 0; on a GPU, as in PyTorch, tensors are not looked at.

    Raises:
        ArgumentError: that is what is given.
    """
    if not (_is_whole(a) and _is_whole(b)):
        return

    def test(values: Any) -> None:
        if not np.all(values):
            raise ArgumentError(
                f"{name}: ZeroDivisionError: integers are divided by 0", hint="divide floats, which gives an infinity"
            )

    if isinstance(b, Number):
        test(bool(b))
    elif not isinstance(b, Cell):
        test(b)
    elif b._device == "cpu":
        check_values(b, test, None)


def _is_whole(x: Any) -> bool:
    return x._array.dtype.kind in "bui" if isinstance(x, Cell) else isinstance(x, (int, np.integer, np.bool_))


class Arithmetic(Cell):
    """Operators of tensors, element by element, broadcasting."""

    def __add__(self, other: Any) -> Tensor:
        return _apply(ops.add, self, other)  # type: ignore[no-any-return]

    def __radd__(self, other: Any) -> Tensor:
        return _apply(ops.add, other, self)  # type: ignore[no-any-return]

    def __sub__(self, other: Any) -> Tensor:
        return _apply(ops.sub, self, other)  # type: ignore[no-any-return]

    def __rsub__(self, other: Any) -> Tensor:
        return _apply(ops.sub, other, self)  # type: ignore[no-any-return]

    def __mul__(self, other: Any) -> Tensor:
        return _apply(ops.mul, self, other)  # type: ignore[no-any-return]

    def __rmul__(self, other: Any) -> Tensor:
        return _apply(ops.mul, other, self)  # type: ignore[no-any-return]

    def __truediv__(self, other: Any) -> Tensor:
        return _apply(ops.div, self, other)  # type: ignore[no-any-return]

    def __rtruediv__(self, other: Any) -> Tensor:
        return _apply(ops.div, other, self)  # type: ignore[no-any-return]

    # Python 2's names, which PyTorch has kept.
    __div__, __rdiv__ = __truediv__, __rtruediv__

    def __floordiv__(self, other: Any) -> Tensor:
        check_divisor("floor_divide", self, other)
        return _apply(ops.floor_div, self, other)  # type: ignore[no-any-return]

    def __rfloordiv__(self, other: Any) -> Tensor:
        check_divisor("floor_divide", other, self)
        return _apply(ops.floor_div, other, self)  # type: ignore[no-any-return]

    def __mod__(self, other: Any) -> Tensor:
        check_divisor("remainder", self, other)
        return _apply(ops.remainder, self, other)  # type: ignore[no-any-return]

    def __rmod__(self, other: Any) -> Tensor:
        check_divisor("remainder", other, self)
        return _apply(ops.remainder, other, self)  # type: ignore[no-any-return]

    def __pow__(self, other: Any) -> Tensor:
        check_power(self, other)
        return _apply(ops.pow, self, other)  # type: ignore[no-any-return]

    def __rpow__(self, other: Any) -> Tensor:
        return _apply(ops.pow, other, self)  # type: ignore[no-any-return]

    def __and__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_and, self, other)  # type: ignore[no-any-return]

    def __rand__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_and, other, self)  # type: ignore[no-any-return]

    def __or__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_or, self, other)  # type: ignore[no-any-return]

    def __ror__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_or, other, self)  # type: ignore[no-any-return]

    def __xor__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_xor, self, other)  # type: ignore[no-any-return]

    def __rxor__(self, other: Any) -> Tensor:
        return _apply(ops.bitwise_xor, other, self)  # type: ignore[no-any-return]

    def __lshift__(self, other: Any) -> Tensor:
        return _apply(ops.shift_left, self, other)  # type: ignore[no-any-return]

    def __rlshift__(self, other: Any) -> Tensor:
        return _apply(ops.shift_left, other, self)  # type: ignore[no-any-return]

    def __rshift__(self, other: Any) -> Tensor:
        return _apply(ops.shift_right, self, other)  # type: ignore[no-any-return]

    def __rrshift__(self, other: Any) -> Tensor:
        return _apply(ops.shift_right, other, self)  # type: ignore[no-any-return]

    def __iadd__(self, other: Any) -> Tensor:
        return _into(ops.add, self, other, "add_")  # type: ignore[no-any-return]

    def __isub__(self, other: Any) -> Tensor:
        return _into(ops.sub, self, other, "sub_")  # type: ignore[no-any-return]

    def __imul__(self, other: Any) -> Tensor:
        return _into(ops.mul, self, other, "mul_")  # type: ignore[no-any-return]

    def __itruediv__(self, other: Any) -> Tensor:
        return _into(ops.div, self, other, "div_")  # type: ignore[no-any-return]

    __idiv__ = __itruediv__

    def __ifloordiv__(self, other: Any) -> Tensor:
        check_divisor("floor_divide_", self, other)
        return _into(ops.floor_div, self, other, "floor_divide_")  # type: ignore[no-any-return]

    def __imod__(self, other: Any) -> Tensor:
        check_divisor("remainder_", self, other)
        return _into(ops.remainder, self, other, "remainder_")  # type: ignore[no-any-return]

    def __ipow__(self, other: Any) -> Tensor:
        check_power(self, other)
        return _into(ops.pow, self, other, "pow_")  # type: ignore[no-any-return]

    def __iand__(self, other: Any) -> Tensor:
        return _into(ops.bitwise_and, self, other, "and_")  # type: ignore[no-any-return]

    def __ior__(self, other: Any) -> Tensor:
        return _into(ops.bitwise_or, self, other, "or_")  # type: ignore[no-any-return]

    def __ixor__(self, other: Any) -> Tensor:
        return _into(ops.bitwise_xor, self, other, "xor_")  # type: ignore[no-any-return]

    def __ilshift__(self, other: Any) -> Tensor:
        return _into(ops.shift_left, self, other, "lshift_")  # type: ignore[no-any-return]

    def __irshift__(self, other: Any) -> Tensor:
        return _into(ops.shift_right, self, other, "rshift_")  # type: ignore[no-any-return]

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return _apply(ops.eq, self, other)  # type: ignore[no-any-return]

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return _apply(ops.ne, self, other)  # type: ignore[no-any-return]

    def __lt__(self, other: Any) -> Tensor:
        return _apply(ops.lt, self, other)  # type: ignore[no-any-return]

    def __le__(self, other: Any) -> Tensor:
        return _apply(ops.le, self, other)  # type: ignore[no-any-return]

    def __gt__(self, other: Any) -> Tensor:
        return _apply(ops.gt, self, other)  # type: ignore[no-any-return]

    def __ge__(self, other: Any) -> Tensor:
        return _apply(ops.ge, self, other)  # type: ignore[no-any-return]

    # Tensors are keys by identity; == compares elements.
    __hash__ = object.__hash__

    def __neg__(self) -> Tensor:
        return ops.neg(self)  # type: ignore[no-any-return]

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

    # Python 2's names, which old programs call.
    __div__, __rdiv__, __idiv__ = __truediv__, __rtruediv__, __itruediv__

    def __abs__(self) -> Tensor:
        return ops.abs(self)  # type: ignore[no-any-return]

    def __invert__(self) -> Tensor:
        return ops.bitwise_not(self)  # type: ignore[no-any-return]

    def __matmul__(self, other: Any) -> Tensor:
        if not isinstance(other, (Cell, np.ndarray)):
            return _refuse("matmul", self, other)  # type: ignore[no-any-return]
        return self.matmul(other)  # type: ignore[attr-defined, no-any-return]

    def __rmatmul__(self, other: Any) -> Tensor:
        if isinstance(other, Cell):
            return other.matmul(self)  # type: ignore[attr-defined, no-any-return]
        if not isinstance(other, np.ndarray):
            return _refuse("matmul", other, self)  # type: ignore[no-any-return]
        return new_tensor(other) @ self
