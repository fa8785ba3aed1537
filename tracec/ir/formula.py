"""Symbolic sizes in normal form: polynomials over symbols, and over quotients of such."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any


class Symbol:
    """A size that varies.

    Attributes:
        name: For readers.
        value: What it was when the function was recorded. Where it is not known otherwise, it counts as that.
        least: What it is at least.
        chosen: For a number that is chosen by sizes, rather than a size: the choice.
    """

    __slots__ = ("chosen", "least", "name", "value")

    def __init__(self, name: str, value: int, least: int = 2, chosen: Callable[[Values], int] | None = None) -> None:
        self.name, self.value, self.least, self.chosen = name, value, least, chosen

    def __repr__(self) -> str:
        return self.name


#: A symbol, or ``(operation, form, form)`` for a quotient or remainder that is no polynomial.
Atom = Any
#: Powers of atoms.
Monomial = frozenset[tuple[Atom, int]]
#: A polynomial: monomials with their factors.
Form = frozenset[tuple[Monomial, int]]
Values = Mapping[Symbol, int]
_ONE: Monomial = frozenset()


#: Operations on floats with formulas.
REAL: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "**": lambda a, b: a**b,
}
#: Functions of `math` from a float, or two, to one.
_OF_ONE = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "degrees", "erf", "erfc", "exp", "expm1", "fabs",
    "gamma", "lgamma", "log", "log10", "log1p", "log2", "radians", "sin", "sinh", "sqrt", "tan", "tanh",
)  # fmt: skip
_OF_TWO = ("atan2", "copysign", "fmod", "hypot", "pow")


def _defined(name: str, count: int) -> Callable[[Any, Any], Any]:
    """A function of `math` of so many operands, which raises `ArithmeticError` where it is not defined."""
    function = getattr(math, name)

    def call(a: Any, b: Any) -> Any:
        try:
            return function(a) if count == 1 else function(a, b)
        except ValueError as error:
            raise ArithmeticError(str(error)) from error

    return call


REAL |= {f"math.{name}": _defined(name, n) for names, n in ((_OF_ONE, 1), (_OF_TWO, 2)) for name in names}


def symbol_form(symbol: Symbol) -> Form:
    """The formula of a symbol."""
    return frozenset({(frozenset({(symbol, 1)}), 1)})


def constant_form(x: int) -> Form:
    """The formula of a plain number."""
    return frozenset({(_ONE, x)}) if x else frozenset()


def sum_of(a: Form, b: Form, sign: int) -> Form:
    """``a + sign * b``."""
    terms = dict(a)
    for m, c in b:
        terms[m] = terms.get(m, 0) + sign * c
    return frozenset((m, c) for m, c in terms.items() if c)


def product_of(a: Form, b: Form) -> Form:
    """``a * b``."""
    terms: dict[Monomial, int] = {}
    for m, c in a:
        for n, d in b:
            powers = dict(m)
            for atom, p in n:
                powers[atom] = powers.get(atom, 0) + p
            key = frozenset(powers.items())
            terms[key] = terms.get(key, 0) + c * d
    return frozenset((m, c) for m, c in terms.items() if c)


def divided(left: Form, by: Form) -> tuple[Form, Form]:
    """Quotient and remainder; what a formula divides evenly is taken out of it."""
    if left == by:
        return constant_form(1), constant_form(0)
    whole: dict[Monomial, int] = {}
    over: dict[Monomial, int] = {}
    if len(by) == 1:
        ((m, c),) = by
        for n, d in left:
            powers = dict(n)
            for atom, p in m:
                powers[atom] = powers.get(atom, 0) - p
            if d % c or any(p < 0 for p in powers.values()):
                over[n] = d
            else:
                whole[frozenset((k, p) for k, p in powers.items() if p)] = d // c
    else:
        over = dict(left)
    quotient, rest = frozenset(whole.items()), frozenset(over.items())
    if not rest:
        return quotient, rest
    if is_constant(rest) and is_constant(by):
        more, left_over = divmod(next(iter(rest))[1], next(iter(by))[1])
        return sum_of(quotient, constant_form(more), 1), constant_form(left_over)
    one = frozenset({(frozenset({(("//", rest, by), 1)}), 1)})
    return sum_of(quotient, one, 1), frozenset({(frozenset({(("%", rest, by), 1)}), 1)})


def is_constant(form: Form) -> bool:
    """Whether a formula is a plain number."""
    return not form or (len(form) == 1 and next(iter(form))[0] == _ONE)


def evaluate(form: Any, values: Values) -> Any:
    """What a formula gives for these sizes."""
    if isinstance(form, frozenset):
        total = 0
        for monomial, factor in form:
            for atom, power in monomial:
                factor *= _atom(atom, values) ** power
            total += factor
        return total
    if isinstance(form, tuple):
        operation, a, b = form
        return REAL[operation](evaluate(a, values), evaluate(b, values))
    return form


def _atom(atom: Atom, values: Values) -> int:
    if isinstance(atom, Symbol):
        return values.get(atom, atom.value) if atom.chosen is None else atom.chosen(values)
    operation, a, b = atom
    left, right = evaluate(a, values), evaluate(b, values)
    return left // right if operation == "//" else left % right  # type: ignore[no-any-return]


def symbols_of(form: Any) -> set[Symbol]:
    """The sizes that a formula depends on."""
    found: set[Symbol] = set()
    if isinstance(form, Symbol):
        return {form}
    if isinstance(form, frozenset):
        for monomial, _ in form:
            for atom, _ in monomial:
                found |= symbols_of(atom)
    elif isinstance(form, tuple):
        found = symbols_of(form[1]) | symbols_of(form[2])
    return found


@lru_cache(4096)
def text(form: Any) -> str:
    """A formula for readers."""
    if isinstance(form, Symbol):
        return form.name
    if isinstance(form, tuple):
        if form[0].startswith("math."):
            return f"{form[0]}({text(form[1])}" + (f", {text(form[2])})" if form[0][5:] in _OF_TWO else ")")
        return f"({text(form[1])} {form[0]} {text(form[2])})"
    if not isinstance(form, frozenset):
        return str(form)
    parts = []
    for monomial, factor in form:
        factors = [text(a) if p == 1 else f"{text(a)}**{p}" for a, p in monomial]
        parts.append("*".join([*([str(factor)] if factor != 1 or not factors else []), *sorted(factors)]))
    return " + ".join(sorted(parts, key=lambda p: (p.isdigit(), p))) or "0"


def is_settled(test: str, form: Form) -> bool:
    """Whether ``form == 0``, ``form < 0`` or ``form <= 0`` is the same for all sizes."""
    if is_constant(form):
        return True
    low, high = _range(form)
    if test == "==":
        return (low is not None and low > 0) or (high is not None and high < 0)
    if test == "<":
        return (low is not None and low >= 0) or (high is not None and high < 0)
    return (low is not None and low > 0) or (high is not None and high <= 0)


@lru_cache(4096)
def _range(form: Form) -> tuple[int | None, int | None]:
    """What a formula is at least and at most, where its terms tell: those of sizes counted from their least."""
    total: Form = frozenset()
    for monomial, factor in form:
        term = constant_form(factor)
        for atom, power in monomial:
            if not isinstance(atom, Symbol):
                return None, None
            shifted = frozenset({(frozenset({(atom, 1)}), 1), *constant_form(atom.least)})
            for _ in range(power):
                term = product_of(term, shifted)
        total = sum_of(total, term, 1)
    constant = next((c for m, c in total if m == _ONE), 0)
    signs = {c > 0 for m, c in total if m != _ONE}
    return (None if False in signs else constant), (None if True in signs else constant)
