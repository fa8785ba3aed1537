"""Formulas over NumPy's names as straight-line code: one scalar operation after the other, as kernels have them.

`traced` runs a formula of `tracec.ir.exact` on a `Value`, which has the operators and methods of an array that such
formulas use and notes what is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.scalar import Call, Const, Expr, Ref


@dataclass(frozen=True, slots=True)
class Straight:
    """A function of scalars.

    Attributes:
        parameter: What it is called with.
        steps: Names and what they stand for, each in terms of those before and the parameter.
        result: The last one.
    """

    parameter: Ref
    steps: tuple[tuple[str, Expr], ...]
    result: Ref


def traced(formula: Callable[[Any, Any], Any], dtype: DType) -> Straight:
    """The steps of a formula ``(xp, word)`` for words of a dtype."""
    steps: list[tuple[str, Expr]] = []
    parameter = Ref("word", dtype)
    result = formula(_Names, Value(parameter, steps))
    return Straight(parameter, tuple(steps), result.ref)


class Value:
    """A scalar of a function that is being traced."""

    def __init__(self, ref: Ref, steps: list[tuple[str, Expr]]) -> None:
        self.ref = ref
        self._steps = steps

    @property
    def dtype(self) -> Any:
        """NumPy's dtype."""
        return self.ref.dtype.numpy

    def step(self, op: str, *others: Any, dtype: DType | None = None) -> Value:
        """An operation on this value and others; numbers among them are of its dtype."""
        own = self.ref.dtype
        args = (self.ref, *(o.ref if isinstance(o, Value) else Const(o, own) for o in others))
        return self.note(Call(op, args, dtype or own))

    def note(self, expr: Call) -> Value:
        """Give an operation's result a name."""
        name = f"v{len(self._steps)}"
        self._steps.append((name, expr))
        return Value(Ref(name, expr.dtype), self._steps)

    def __add__(self, other: Any) -> Value:
        return self.step("add", other)

    def __sub__(self, other: Any) -> Value:
        return self.step("sub", other)

    def __rsub__(self, other: Any) -> Value:
        return self.note(Call("sub", (Const(other, self.ref.dtype), self.ref), self.ref.dtype))

    def __mul__(self, other: Any) -> Value:
        # Times a power of two nothing is rounded, so that it does not matter what it is fused with.
        exact = isinstance(other, float) and abs(math.frexp(other)[0]) == 0.5
        return self.step("mul" if exact else "rounded_mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self.step("div", other)

    def __neg__(self) -> Value:
        return self.step("neg")

    def __invert__(self) -> Value:
        return self.step("bitwise_not")

    def __and__(self, other: Any) -> Value:
        return self.step("bitwise_and", other)

    def __xor__(self, other: Any) -> Value:
        return self.step("bitwise_xor", other)

    def __rshift__(self, other: Any) -> Value:
        return self.step("shift_right", other)

    def __ge__(self, other: Any) -> Value:
        return self.step("ge", other, dtype=dt.bool_)

    def __lt__(self, other: Any) -> Value:
        return self.step("lt", other, dtype=dt.bool_)

    def __eq__(self, other: object) -> Any:
        return self.step("eq", other, dtype=dt.bool_)

    __hash__ = object.__hash__
    __radd__ = __add__
    __rmul__ = __mul__

    def astype(self, dtype: Any) -> Value:
        """The value in another type, rounded or wrapped around."""
        target = dt.of_numpy(dtype)
        return self if target is self.ref.dtype else self.step("cast", dtype=target)

    def view(self, dtype: Any) -> Value:
        """The bits of the value as another type of their size."""
        target = dt.of_numpy(dtype)
        return self.step("cast" if target.kind in "ui" and self.ref.dtype.kind in "ui" else "bitcast", dtype=target)


class _Names:
    """NumPy's names for operations."""

    @staticmethod
    def where(condition: Value, x: Value, y: Value) -> Value:
        return condition.note(Call("select", (condition.ref, x.ref, y.ref), x.ref.dtype))
