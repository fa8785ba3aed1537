"""Python's operators on tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.ir.operator import Operator
from tracec.record.cell import Cell, new_tensor
from tracec.record.check import check_none
from tracec.record.dispatch import apply
from tracec.record.overriding import operator, overrides
from tracec.record.write import assign, check_writable

if TYPE_CHECKING:
    from tracec.record.tensor import Tensor

#: Of the left and the right operand, in the order of the expression.
Check = Callable[[Any, Any], None]
Method = Callable[[Any, Any], "Tensor"]

_NONE: dict[str, Any] = {}
_OPERANDS = (Cell, int, float, bool, complex, np.generic, np.ndarray)


#: Types that know nothing of tensors. Others, classes derived from these among them, may know what to do with one.
_NEVER = (list, tuple, dict, set, str, bytes, type(None))


def _refuse(name: str, a: Any, b: Any) -> Any:
    """Leave the operation to the other type, or tell the user where there can be no such operation."""
    tensor, other = (a, b) if isinstance(a, Cell) else (b, a)
    if overrides(other):
        return operator(name, a, b)
    # Python itself compares with anything, and repeats sequences by integers.
    repeats = name == "mul" and tensor._array.size == 1 and tensor._array.dtype.kind in "biu"
    if name in ("eq", "ne") or repeats or type(other) not in _NEVER:
        return NotImplemented
    raise ArgumentTypeError(
        f"{name}: takes tensors and numbers, {type(other).__name__} given",
        hint="make a tensor with tracec.tensor(...)",
    )


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

    def refuse(_: Any) -> NoReturn:
        raise ArgumentError(
            f"{name}: ZeroDivisionError: integers are divided by 0", hint="divide floats, which gives an infinity"
        )

    if isinstance(b, Cell):
        if b._device == "cpu":
            check_none(ops.eq(b, 0), refuse)
    elif not bool(b):
        refuse(None)


def _is_whole(x: Any) -> bool:
    return x._array.dtype.kind in "bui" if isinstance(x, Cell) else isinstance(x, (int, np.integer, np.bool_))


def _operator(op: Operator, check: Check | None = None) -> Method:
    """What Python calls of the left operand."""

    def run(self: Any, other: Any) -> Any:
        if check is not None:
            check(self, other)
        if isinstance(other, _OPERANDS):
            return apply(op, (self, other), _NONE)
        return _refuse(op.name, self, other)

    return run


def _turned(op: Operator, check: Check | None = None) -> Method:
    """What Python calls of the right operand, where the left one does not know."""

    def run(self: Any, other: Any) -> Any:
        if check is not None:
            check(other, self)
        if isinstance(other, _OPERANDS):
            return apply(op, (other, self), _NONE)
        return _refuse(op.name, other, self)

    return run


def _written(op: Operator, name: str, check: Check | None = None) -> Method:
    """What Python calls to write the result into the left operand."""

    def run(self: Any, other: Any) -> Any:
        if check is not None:
            check(self, other)
        check_writable(self, name)
        if isinstance(other, _OPERANDS):
            return assign(self, apply(op, (self, other), _NONE), name)
        return _refuse(op.name, self, other)

    return run


def _divisor(name: str) -> Check:
    return partial(check_divisor, name)


class Arithmetic(Cell):
    """Operators of tensors, element by element, broadcasting."""

    __add__, __radd__, __iadd__ = _operator(ops.add), _turned(ops.add), _written(ops.add, "add_")
    __sub__, __rsub__, __isub__ = _operator(ops.sub), _turned(ops.sub), _written(ops.sub, "sub_")
    __mul__, __rmul__, __imul__ = _operator(ops.mul), _turned(ops.mul), _written(ops.mul, "mul_")
    __truediv__, __rtruediv__, __itruediv__ = _operator(ops.div), _turned(ops.div), _written(ops.div, "div_")
    # Python 2's names, which old programs call.
    __div__, __rdiv__, __idiv__ = __truediv__, __rtruediv__, __itruediv__

    __floordiv__ = _operator(ops.floor_div, _divisor("floor_divide"))
    __rfloordiv__ = _turned(ops.floor_div, _divisor("floor_divide"))
    __ifloordiv__ = _written(ops.floor_div, "floor_divide_", _divisor("floor_divide_"))
    __mod__ = _operator(ops.remainder, _divisor("remainder"))
    __rmod__ = _turned(ops.remainder, _divisor("remainder"))
    __imod__ = _written(ops.remainder, "remainder_", _divisor("remainder_"))
    __rpow__ = _turned(ops.pow)
    __ipow__ = _written(ops.pow, "pow_", check_power)

    __and__, __rand__ = _operator(ops.bitwise_and), _turned(ops.bitwise_and)
    __or__, __ror__ = _operator(ops.bitwise_or), _turned(ops.bitwise_or)
    __xor__, __rxor__ = _operator(ops.bitwise_xor), _turned(ops.bitwise_xor)
    __iand__, __ior__ = _written(ops.bitwise_and, "and_"), _written(ops.bitwise_or, "or_")
    __ixor__ = _written(ops.bitwise_xor, "xor_")
    __lshift__, __rlshift__ = _operator(ops.shift_left), _turned(ops.shift_left)
    __rshift__, __rrshift__ = _operator(ops.shift_right), _turned(ops.shift_right)
    __ilshift__, __irshift__ = _written(ops.shift_left, "lshift_"), _written(ops.shift_right, "rshift_")

    __eq__: Any
    __ne__: Any
    __eq__, __ne__ = _operator(ops.eq), _operator(ops.ne)
    __lt__, __le__ = _operator(ops.lt), _operator(ops.le)
    __gt__, __ge__ = _operator(ops.gt), _operator(ops.ge)
    # Tensors are keys by identity; == compares elements.
    __hash__ = object.__hash__

    def __pow__(self, other: Any) -> Tensor:
        if isinstance(other, _OPERANDS):
            return self.pow(other)  # type: ignore[attr-defined, no-any-return]
        return _refuse("pow", self, other)  # type: ignore[no-any-return]

    def __neg__(self) -> Tensor:
        return ops.neg(self)  # type: ignore[no-any-return]

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]

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


for _name, _method in vars(Arithmetic).items():
    if getattr(_method, "__name__", "") == "run":
        _method.__name__, _method.__qualname__ = _name, f"Arithmetic.{_name}"
