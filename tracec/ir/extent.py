"""Symbolic sizes: integers that know the formula over sizes, varying from call to call, that they were computed from.

An `Extent` is an integer (as PyTorch's SymInt), and a `Ratio` a float, of which everything that computes with plain
numbers makes plain use; sums, products and quotients of them are such numbers again (`tracec.ir.formula_number`). While
a function is recorded, what is learned of one by comparing it is noted as a `Condition`, under which alone the
recording holds for other sizes. Elsewhere the formula may get lost: the number is right for the present sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tracec.ir.conditions import Condition, noting, unnoted, writing
from tracec.ir.formula import REAL, Form, Symbol, Values, evaluate, symbol_form, symbols_of, text
from tracec.ir.formula_number import Extent, Ratio, division, fixed, form_of, pin, plain, ratio, with_form, with_tree

__all__ = [
    "Condition", "Extent", "Form", "Ratio", "Symbol", "Values", "Wrapped", "as_real", "at", "chosen", "distinct",
    "divides", "factor_of", "fixed", "form_of", "formula_key", "function_of", "is_varying", "like", "nearest", "noting",
    "pin", "plain", "symbolic", "symbols_of", "text", "unnoted", "whole", "writing",
]  # fmt: skip


T = TypeVar("T")


class Wrapped:
    """A size as the user's code reads it; see `tracec.record.opaque`.

    Attributes:
        number: The number with its formula.
    """

    __slots__ = ("number",)

    number: Any


def function_of(name: str, *operands: Any) -> Any:
    """A function of `math` of numbers of which some have formulas; None where what it gives has none."""
    if f"math.{name}" not in REAL:
        return None
    return ratio(f"math.{name}", *operands, *([0] if len(operands) == 1 else []))


def nearest(function: Callable[[Any], int], x: Any) -> Any:
    """A float with a formula as a whole number, by a function such as `round`."""
    if not x >= 0:
        return function(fixed(x))
    return chosen(f"{function.__name__}({text(x.tree)})", function, x)


def as_real(x: Any) -> Any:
    """A number as a float that keeps its formula."""
    if isinstance(x, Extent):
        return with_tree(plain(x), x.form)
    return x if isinstance(x, Ratio) else float(x)


def symbolic(symbol: Symbol, value: int | None = None) -> Any:
    """The size that a symbol stands for."""
    return with_form(symbol.value if value is None else value, symbol_form(symbol))


def divides(by: int, x: int) -> bool:
    """Whether a number divides another one, for all sizes; notes nothing."""
    if type(by) is not int or type(x) is not int:
        _, rest = division(x, by)
        return not isinstance(rest, Extent) and rest == 0
    return x % by == 0


def factor_of(x: int) -> int:
    """A number that divides another one for all sizes: itself, where it is the same for all."""
    return math.gcd(*(c for _, c in x.form)) if isinstance(x, Extent) else x


def whole(x: Any) -> int:
    """A number that is whole as an integer; one with a formula keeps it."""
    return x if isinstance(x, Extent) else int(x)


def chosen(name: str, choose: Callable[..., int], *by: Any) -> int:
    """A number that is chosen by others; where these vary, it is chosen anew for each call's."""
    value = choose(*map(plain, by))
    if not any(map(is_varying, by)):
        return value
    return symbolic(Symbol(name, value, 0, lambda values: choose(*(plain(at(x, values)) for x in by))), value)  # type: ignore[no-any-return]


def like(a: Any, b: Any) -> bool:
    """Whether two numbers are equal for all sizes; notes nothing."""
    return bool(formula_key(a) == formula_key(b))


def at(x: Any, values: Values) -> Any:
    """A number with its formula for other sizes."""
    if isinstance(x, Extent):
        return with_form(evaluate(x.form, values), x.form)
    if isinstance(x, Ratio):
        return with_tree(evaluate(x.tree, values), x.tree)
    return x


def formula_key(value: Any) -> Any:
    """A value with formulas in place of numbers that have them: equal ones are equal for all sizes."""
    cls = type(value)  # most are of these, and of a large graph there are hundreds of thousands
    if cls is int:
        return int, value
    if cls is str:
        return value
    if isinstance(value, (tuple, list)):
        return tuple(map(formula_key, value))
    if isinstance(value, Extent):
        return value.form
    if isinstance(value, Ratio):
        return value.tree
    if hasattr(value, "shape"):  # the type of a tensor
        return value.dtype, formula_key(value.shape), value.device
    return (cls, repr(value)) if isinstance(value, (bool, int, float, complex)) else value


def distinct(values: Iterable[T]) -> tuple[T, ...]:
    """Values that differ for some sizes, each once; notes nothing."""
    return tuple({formula_key(v): v for v in values}.values())


def is_varying(value: Any) -> bool:
    """Whether a number, or one in nested tuples, lists and dictionaries, has a formula."""
    if isinstance(value, (Extent, Ratio)):
        return True
    if isinstance(value, dict):
        return any(map(is_varying, value.values()))
    return isinstance(value, (tuple, list)) and any(map(is_varying, value))
