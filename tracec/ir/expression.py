"""How a Python number is computed from numbers that are known when a program runs.

Expressions are values: symbols, constants, and operations on them. Equal ones are one object, so that a dictionary
finds what is computed twice. `compile_numbers` makes one Python function of many: Python computes them, with its own
semantics of zero division, of ints without bounds, and of NaN.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np

from tracec.ir.extent import Values, at, formula_key, is_varying, plain


class Operation(NamedTuple):
    """Something that Python does with numbers.

    Attributes:
        function: What does it.
        text: How the user writes it, with ``{}`` for each operand.
        binds: How strongly it binds its operands in that text, as in Python's grammar; `CALL` for what has brackets.
    """

    function: Callable[..., Any]
    text: str
    binds: int


CALL = 20

_INFIX: dict[str, tuple[Callable[..., Any], int]] = {
    "<": (operator.lt, 6), "<=": (operator.le, 6), "==": (operator.eq, 6), "!=": (operator.ne, 6),
    ">": (operator.gt, 6), ">=": (operator.ge, 6), "|": (operator.or_, 7), "^": (operator.xor, 8),
    "&": (operator.and_, 9), "<<": (operator.lshift, 10), ">>": (operator.rshift, 10), "+": (operator.add, 11),
    "-": (operator.sub, 11), "*": (operator.mul, 12), "/": (operator.truediv, 12), "//": (operator.floordiv, 12),
    "%": (operator.mod, 12), "**": (operator.pow, 14),
}  # fmt: skip

_MATH = (
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "copysign", "cos", "cosh", "degrees",
    "erf", "erfc", "exp", "exp2", "expm1", "fabs", "floor", "fmod", "gamma", "hypot", "isfinite", "isinf", "isnan",
    "lgamma", "log", "log10", "log1p", "log2", "pow", "radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc",
)  # fmt: skip

#: What NumPy computes of a number, of two or three, and of several.
_UFUNCS = (
    "abs", "cbrt", "ceil", "cos", "cosh", "exp", "exp2", "expm1", "fabs", "floor", "isfinite", "isinf", "isnan", "log",
    "log10", "log1p", "log2", "rint", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh", "trunc",
)  # fmt: skip
#: How many numbers each takes.
OF_SOME = {"np.clip": 3, "np.hypot": 2, "np.maximum": 2, "np.minimum": 2, "np.power": 2}
_OF_SEVERAL = ("max", "mean", "median", "min", "prod", "std", "sum", "var")


def _of_several(name: str) -> Callable[..., Any]:
    function = getattr(np, name)
    return lambda *values: function(values)


#: Every operation, by its name. ``type``, ``bool`` and comparisons serve conditions.
OPERATIONS: dict[str, Operation] = {
    **{name: Operation(f, f"{{}} {name} {{}}", binds) for name, (f, binds) in _INFIX.items()},
    "neg": Operation(operator.neg, "-{}", 13),
    "invert": Operation(operator.invert, "~{}", 13),
    **{f.__name__: Operation(f, f.__name__ + "({})", CALL) for f in (abs, bool, float, int, type)},
    "round": Operation(round, "round({}, {})", CALL),
    "nearest": Operation(round, "round({})", CALL),
    "computed": Operation(lambda x: True, "{}", CALL),
    "is_integer": Operation(float.is_integer, "{}.is_integer()", CALL),
    **{f"math.{name}": Operation(getattr(math, name), "", CALL) for name in _MATH if hasattr(math, name)},
    **{f"np.{name}": Operation(getattr(np, name), "", CALL) for name in _UFUNCS},
    **{name: Operation(getattr(np, name.removeprefix("np.")), "", CALL) for name in OF_SOME},
    **{f"np.{name}": Operation(_of_several(name), "", CALL) for name in _OF_SEVERAL},
}

#: Expressions nested deeper are shortened in texts.
_SHOWN = 12


class Expression:
    """A symbol, a constant, or an operation on expressions; made by the functions below.

    Attributes:
        kind: ``symbol``, ``constant``, or a name in `OPERATIONS`.
        operands: What it is applied to.
        value: Of a constant its value; of a symbol its number, which says where it stands among those known.
        name: Of a symbol how the user would write it.
    """

    __slots__ = ("__weakref__", "kind", "name", "operands", "value")

    kind: str
    operands: tuple[Expression, ...]
    value: Any
    name: str

    def __str__(self) -> str:
        return _text(self, 0, _SHOWN)

    def __repr__(self) -> str:
        return f"<{self}>"

    def __reduce__(self) -> Any:
        if self.kind == "symbol":
            return symbol, (self.value, self.name)
        return (constant, (self.value,)) if self.kind == "constant" else (operation, (self.kind, *self.operands))


_KNOWN: WeakValueDictionary[Any, Expression] = WeakValueDictionary()


def _expression(key: Any, kind: str, operands: tuple[Expression, ...], value: Any = None, name: str = "") -> Expression:
    found = _KNOWN.get(key)
    if found is None:
        made = Expression()
        made.kind, made.operands, made.value, made.name = kind, operands, value, name
        found = _KNOWN.setdefault(key, made)
    return found


def symbol(number: int, name: str) -> Expression:
    """What is known when the program runs: the one of that number."""
    return _expression(("symbol", number, name), "symbol", (), number, name)


def constant(value: Any) -> Expression:
    """A number that stays as it is, or depends on sizes alone."""
    key = ("size", formula_key(value)) if is_varying(value) else ("constant", type(value), repr(value))
    return _expression(key, "constant", (), value)


def operation(kind: str, *operands: Expression) -> Expression:
    """An operation on numbers."""
    return _expression((kind, *operands), kind, operands)


def every_part(expression: Expression) -> tuple[Expression, ...]:
    """An expression and all that it is made of, operands first, each once."""
    found: dict[Expression, None] = {}
    stack = [expression]
    while stack:
        e = stack[-1]
        missing = [x for x in e.operands if x not in found]
        if missing:
            stack += missing
            continue
        found[stack.pop()] = None
    return tuple(found)


def sizes_in(expression: Expression) -> list[Any]:
    """The numbers in it that depend on sizes."""
    return [e.value for e in every_part(expression) if e.kind == "constant" and is_varying(e.value)]


def at_sizes(expression: Expression, values: Values) -> Expression:
    """The expression for some sizes, without formulas; what depends on sizes alone is computed.

    Raises:
        ArithmeticError: Python refuses to compute it for these sizes.
    """
    if not sizes_in(expression):
        return expression
    found: dict[Expression, Expression] = {}
    for e in every_part(expression):
        operands = [found[x] for x in e.operands]
        if e.kind == "constant":
            found[e] = constant(plain(at(e.value, values)))
        elif e.kind == "symbol" or any(x.kind != "constant" for x in operands):
            found[e] = operation(e.kind, *operands) if operands else e
        else:
            try:
                found[e] = constant(OPERATIONS[e.kind].function(*(x.value for x in operands)))
            except (ValueError, TypeError) as error:
                raise ArithmeticError(str(error)) from error
    return found[expression]


class Condition(NamedTuple):
    """What an expression has to be, for a recording to be what would be recorded again.

    Attributes:
        expression: The expression.
        value: What it was: a bool for comparisons, a type for ``type``, the number where it was asked for.
    """

    expression: Expression
    value: Any

    def __str__(self) -> str:
        if self.expression.kind == "bool" and isinstance(self.value, bool):
            return _text(self.expression.operands[0], 0 if self.value else 5, _SHOWN, "" if self.value else "not ")
        if isinstance(self.value, bool):
            return f"{'' if self.value else 'not '}{self.expression}"
        if isinstance(self.value, type):
            return f"{self.expression} is {self.value.__name__}"
        return f"{_text(self.expression, 7, _SHOWN)} == {self.value!r}"


# As text --------------------------------------------------------------------------------------------------


def _text(e: Expression, binds: int, depth: int, before: str = "") -> str:
    """The expression where its surroundings bind so strongly."""
    if e.kind == "symbol":
        return before + e.name
    if e.kind == "constant":
        text = repr(e.value)
        return before + (f"({text})" if text.startswith("-") and binds > 13 else text)
    if not depth:
        return before + "..."
    name, known = e.kind, OPERATIONS[e.kind]
    if known.binds == CALL:
        inner = 0 if name != "is_integer" else CALL
        parts = [_text(x, inner, depth - 1) for x in e.operands]
        return before + (known.text.format(*parts) if known.text else f"{name}({', '.join(parts)})")
    # Operators of one strength go from left to right, powers from right to left.
    left, right = (known.binds + 1, 13) if name == "**" else (known.binds, known.binds + 1)
    sides = (13,) if len(e.operands) == 1 else (left, right)
    text = known.text.format(*(_text(x, b, depth - 1) for x, b in zip(e.operands, sides, strict=True)))
    return before + (f"({text})" if known.binds < binds else text)


# As a function --------------------------------------------------------------------------------------------

#: What Python raises where a number is not one that an operation is defined for.
_FAILURES = (ArithmeticError, ValueError, TypeError)

Evaluator = Callable[[Sequence[Any] | Mapping[int, Any]], "tuple[Any, ...] | None"]


def compile_numbers(conditions: Iterable[tuple[Expression, Any]], results: Sequence[Expression]) -> Evaluator:
    """One function that tests conditions and computes results.

    Args:
        conditions: Expressions and what they have to be.
        results: What to compute.

    Returns:
        A function of the symbols' values, in the order of their numbers: the results; None where a condition does
        not hold, or where Python raises an error on the way.
    """
    writer = _Writer()
    for expression, value in conditions:
        writer.test(expression, value)
    found = [writer.write(e) for e in results]
    lines = [*writer.lines, f"return ({''.join(f + ', ' for f in found)})"]
    body = "\n        ".join(lines)
    text = f"def evaluate(symbols):\n    try:\n        {body}\n    except failures:\n        return None\n"
    scope = writer.scope
    scope["failures"] = _FAILURES
    exec(compile(text, "<numbers>", "exec"), scope)
    return scope["evaluate"]  # type: ignore[no-any-return]


def first_failing(conditions: Iterable[Condition], symbols: Sequence[Any] | Mapping[int, Any]) -> Condition | None:
    """The first condition that does not hold for these values of symbols."""
    for condition in conditions:
        if compile_numbers([condition], [])(symbols) is None:
            return condition
    return None


class _Writer:
    """Writes expressions as statements, each once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.scope: dict[str, Any] = {"copysign": math.copysign}
        self._names: dict[Expression, str] = {}

    def write(self, expression: Expression) -> str:
        """The name of the value of an expression."""
        stack = [expression]
        while stack:
            e = stack[-1]
            if e in self._names:
                stack.pop()
                continue
            missing = [x for x in e.operands if x not in self._names]
            if missing:
                stack += missing
                continue
            stack.pop()
            self._names[e] = self._one(e)
        return self._names[expression]

    def _one(self, e: Expression) -> str:
        if e.kind == "constant":
            return self._constant(e.value)
        name = f"t{len(self._names)}"
        if e.kind == "symbol":
            self.lines.append(f"{name} = symbols[{e.value}]")
            return name
        known = OPERATIONS[e.kind]
        operands = [self._names[x] for x in e.operands]
        if known.binds == CALL:
            function = f"f{len(self.scope)}"
            self.scope[function] = known.function
            self.lines.append(f"{name} = {function}({', '.join(operands)})")
        else:
            self.lines.append(f"{name} = {known.text.format(*operands)}")
        return name

    def _constant(self, value: Any) -> str:
        if type(value) in (int, bool) and value >= 0:
            return repr(value)
        name = f"c{len(self.scope)}"
        self.scope[name] = value
        return name

    def test(self, expression: Expression, value: Any) -> None:
        """Write that the function ends where an expression is not that."""
        name = self.write(expression)
        if value is True or value is False:
            wrong = f"{name} is not {value}"
        elif isinstance(value, type):
            wrong = f"{name} is not {self._constant(value)}"
        elif type(value) is float and value != value:
            wrong = f"{name} == {name}"
        elif type(value) is float and value == 0.0:
            wrong = f"{name} != 0.0 or copysign(1.0, {name}) != {math.copysign(1.0, value)}"
        else:
            wrong = f"{name} != {self._constant(value)}"
        self.lines.append(f"if {wrong}: return None")
