"""Numbers that a program is given behind its tensors: expressions over watched numbers and draws, and their conditions.

All are compiled into one Python function, which is evaluated at each call (`tracec.ir.expression.compile_numbers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tracec.errors import TracecError
from tracec.ir.expression import Condition, Expression, at_sizes, compile_numbers, sizes_in
from tracec.ir.extent import Values
from tracec.record.cell import new_tensor
from tracec.record.numbers import Scalar, array_of
from tracec.record.tensor import Tensor
from tracec.specialisations.draws import NO_DRAWS, Draws


class Scalars:
    """The numbers that a program is given, from those that are watched.

    Args:
        conditions: What has to hold of the numbers that are watched.
        scalars: The inputs of its graph that are numbers, in order.
        draws: What generators draw before the program runs.
    """

    def __init__(
        self, conditions: Sequence[Condition], scalars: Sequence[Scalar], draws: Draws = NO_DRAWS
    ) -> None:  # fmt: skip
        self.draws = draws
        self.conditions = tuple(conditions)
        self.scalars = tuple(scalars)
        self._evaluate = compile_numbers(self.conditions, [s.expression for s in self.scalars])
        #: Whether what was drawn may keep the program from serving the call.
        self.chooses = any(symbols_in(c.expression) & draws.symbols for c in conditions) or any(
            s.type.dtype.kind == "i" and not s.type.shape for s in scalars
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Scalars):
            return NotImplemented
        return (self.conditions, self.scalars, self.draws) == (other.conditions, other.scalars, other.draws)

    __hash__ = None  # type: ignore[assignment]

    def at_sizes(self, values: Values) -> Scalars:
        """The same for some sizes."""
        exact = [*(c.expression for c in self.conditions), *(s.expression for s in self.scalars)]
        if not any(map(sizes_in, exact)):
            return self
        conditions = [Condition(at_sizes(c.expression, values), c.value) for c in self.conditions]
        return Scalars(conditions, [Scalar(at_sizes(s.expression, values), s.type) for s in self.scalars], self.draws)

    def tensors(self, symbols: Sequence[Any] | Mapping[int, Any]) -> list[Tensor] | None:
        """The numbers as tensors, from those that are watched; None where a condition does not hold."""
        values = self._evaluate(symbols)
        if values is None:
            return None
        try:
            return [new_tensor(array_of(v, s.type)) for v, s in zip(values, self.scalars, strict=True)]
        except (TracecError, ArithmeticError, ValueError):  # it does not fit the type, which the function itself tells
            return None


def symbols_in(expression: Expression) -> set[int]:
    """The numbers of the symbols that an expression depends on."""
    found, seen, stack = set(), set(), [expression]
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        stack += e.operands
        if e.kind == "symbol":
            found.add(e.value)
    return found
