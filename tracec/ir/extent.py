"""Sizes that know what they were computed from: numbers with a formula over the sizes that vary from call to call.

An `Extent` is an integer, and a `Ratio` a float, of which everything that computes with plain numbers makes plain use;
sums, products and quotients of them are such numbers again. While a function is recorded, what is learned of one by
comparing it is noted as a `Condition`, under which alone the recording holds for other sizes. Elsewhere the formula may
get lost: the number is right for the present sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracec.ir.conditions import TESTS, WATCH, Condition, noting, unnoted, writing
from tracec.ir.formula import (
    REAL,
    Form,
    Symbol,
    Values,
    constant_form,
    divided,
    evaluate,
    is_constant,
    is_settled,
    product_of,
    sum_of,
    symbol_form,
    symbols_of,
    text,
)  # fmt: skip

__all__ = [
    "Condition",
    "Extent",
    "Form",
    "Ratio",
    "Symbol",
    "Values",
    "noting",
    "symbols_of",
    "text",
    "unnoted",
    "writing",
]


class Wrapped:
    """A size as the user's code reads it; see `tracec.record.opaque`.

    Attributes:
        number: The number with its formula.
    """

    __slots__ = ("number",)

    number: Any


class Extent(int):
    """An integer with its formula.

    Attributes:
        form: The formula.
    """

    form: Form

    def __add__(self, other: Any) -> Any:
        if isinstance(other, int):
            return _made(int.__add__(self, other), sum_of(self.form, form_of(other), 1))
        return _real("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return self + other if isinstance(other, int) else _real("+", other, self)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, int):
            return _made(int.__sub__(self, other), sum_of(self.form, form_of(other), -1))
        return _real("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        if isinstance(other, int):
            return _made(int.__rsub__(self, other), sum_of(form_of(other), self.form, -1))
        return _real("-", other, self)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):
            return _made(int.__mul__(self, other), product_of(self.form, form_of(other)))
        return _real("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self * other if isinstance(other, int) else _real("*", other, self)

    def __neg__(self) -> Any:
        return _made(int.__neg__(self), sum_of(frozenset(), self.form, -1))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    def __floordiv__(self, other: Any) -> Any:
        return _divided(self, other)[0] if isinstance(other, int) else _real("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return _divided(other, self)[0] if isinstance(other, int) else _real("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return _divided(self, other)[1] if isinstance(other, int) else _real("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return _divided(other, self)[1] if isinstance(other, int) else _real("%", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return _real("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return _real("/", other, self)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is None and isinstance(other, int) and not isinstance(other, Extent) and 1 <= other <= 4:
            result = self
            for _ in range(other - 1):
                result = result * self
            return result
        return (
            _real("**", self, other) if modulo is None and isinstance(other, float) else pow(fixed(self), other, modulo)
        )

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return _real("**", other, self) if isinstance(other, float) else pow(other, fixed(self))

    def __bool__(self) -> bool:
        return not _compared("==", self, 0)

    def __hash__(self) -> int:
        return int.__hash__(self)

    def __index__(self) -> Any:
        return self

    def __int__(self) -> int:
        return fixed(self)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return float(fixed(self))

    def __trunc__(self) -> Any:
        return self

    __floor__ = __ceil__ = __trunc__

    def __round__(self, digits: Any = None) -> Any:
        return self if digits is None or digits >= 0 else round(fixed(self), digits)

    def __str__(self) -> str:
        return _shown(self) or int.__repr__(self)

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self) if not spec else format(plain(self), spec)

    def __reduce__(self) -> Any:
        return int, (plain(self),)

    def __copy__(self) -> int:
        return self

    def __deepcopy__(self, memo: Any) -> int:
        return self


def _escaping(name: str) -> Callable[..., Any]:
    """An operation that has no formula: of the plain number."""
    operation = getattr(int, name)

    def method(self: Extent, *others: Any) -> Any:
        return operation(fixed(self), *(fixed(o) if isinstance(o, Extent) else o for o in others))

    return method


for _name in ["lshift", "rlshift", "rshift", "rrshift", "and", "rand", "or", "ror", "xor", "rxor", "invert"]:
    setattr(Extent, f"__{_name}__", _escaping(f"__{_name}__"))
Extent.bit_length = _escaping("bit_length")  # type: ignore[method-assign]


class Ratio(float):
    """A float with its formula.

    Attributes:
        tree: A `Form`, a plain number, or ``(operation, tree, tree)``.
    """

    tree: Any

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __neg__(self) -> Any:
        return _real("*", self, -1)

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    def __bool__(self) -> bool:
        return not _compared("==", self, 0)

    def __float__(self) -> float:
        return fixed(self)  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return int(fixed(self))

    __trunc__ = __int__

    def __floor__(self) -> Any:
        return math.floor(fixed(self))

    def __ceil__(self) -> Any:
        return math.ceil(fixed(self))

    def __round__(self, digits: Any = None) -> Any:
        return round(fixed(self), digits)

    def __hash__(self) -> int:
        return float.__hash__(self)

    def __str__(self) -> str:
        return _shown(self) or float.__repr__(self)

    __repr__ = __str__

    def __reduce__(self) -> Any:
        return float, (plain(self),)

    def __copy__(self) -> float:
        return self

    def __deepcopy__(self, memo: Any) -> float:
        return self


def _arithmetic(operation: str, reflected: bool) -> Callable[..., Any]:
    def method(self: Ratio, other: Any) -> Any:
        return _real(operation, other, self) if reflected else _real(operation, self, other)

    return method


for _name, _sign in {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
}.items():
    setattr(Ratio, f"__{_name}__", _arithmetic(_sign, reflected=False))
    setattr(Ratio, f"__r{_name}__", _arithmetic(_sign, reflected=True))


def _comparison(test: str, outcome: bool, reflected: bool) -> Callable[..., Any]:
    def method(self: Any, other: Any) -> Any:
        if not isinstance(other, (int, float)):
            return NotImplemented
        return (_compared(test, other, self) if reflected else _compared(test, self, other)) is outcome

    return method


for _class in (Extent, Ratio):
    for _name, _comparing in {
        "eq": ("==", True, False), "ne": ("==", False, False), "lt": ("<", True, False),
        "le": ("<=", True, False), "gt": ("<", True, True), "ge": ("<=", True, True),
    }.items():  # fmt: skip
        setattr(_class, f"__{_name}__", _comparison(*_comparing))


def _tree(x: Any) -> Any:
    return x.form if isinstance(x, Extent) else x.tree if isinstance(x, Ratio) else x


def _real(operation: str, a: Any, b: Any) -> Any:
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return NotImplemented
    value = REAL[operation](plain(a), plain(b))
    if not isinstance(value, float):  # a root of a negative number
        return REAL[operation](fixed(a), fixed(b))
    made = float.__new__(Ratio, value)
    made.tree = (operation, _tree(a), _tree(b))
    return made


def _shown(x: Any) -> str:
    """What stands for a number in a text; nothing where its value does."""
    if WATCH.write is not None:
        return WATCH.write(x)
    return f"<{text(_tree(x))}>" if WATCH.named else ""


def function_of(name: str, *operands: Any) -> Any:
    """A function of `math` of numbers of which some have formulas; None where what it gives has none."""
    if f"math.{name}" not in REAL:
        return None
    return _real(f"math.{name}", *operands, *([0] if len(operands) == 1 else []))


def nearest(function: Callable[[Any], int], x: Any) -> Any:
    """A float with a formula as a whole number, by a function such as `round`."""
    if not x >= 0:
        return function(fixed(x))
    return chosen(f"{function.__name__}({text(x.tree)})", function, x)


def as_real(x: Any) -> Any:
    """A number as a float that keeps its formula."""
    if isinstance(x, Extent):
        made = float.__new__(Ratio, plain(x))
        made.tree = x.form
        return made
    return x if isinstance(x, Ratio) else float(x)


def symbolic(symbol: Symbol, value: int | None = None) -> Any:
    """The size that a symbol stands for."""
    return _made(symbol.value if value is None else value, symbol_form(symbol))


def form_of(x: float) -> Form:
    """The formula of a number."""
    if isinstance(x, Extent):
        return x.form
    return constant_form(int(x))


def _made(value: int, form: Form) -> Any:
    """A number with a formula; a plain one where that is one."""
    if is_constant(form):
        return value
    made = int.__new__(Extent, value)
    made.form = form
    return made


def _divided(a: int, b: int) -> tuple[Any, Any]:
    """Quotient and remainder."""
    values, forms = divmod(plain(a), plain(b)), divided(form_of(a), form_of(b))
    return _made(values[0], forms[0]), _made(values[1], forms[1])


# Conditions ----------------------------------------------------------------------------------------------------


def _compared(test: str, a: float, b: float) -> bool:
    outcome = TESTS[test](plain(a), plain(b))
    note = WATCH.note
    if note is not None:
        real = isinstance(a, float) or isinstance(b, float)
        left, right = (_tree(a), _tree(b)) if real else (form_of(a), form_of(b))
        if real or not is_settled(test, sum_of(left, right, -1)):  # else it is the same for all sizes
            note(Condition(test, left, right, outcome))
    return outcome


def divides(by: int, x: int) -> bool:
    """Whether a number divides another one, for all sizes; notes nothing."""
    if type(by) is not int or type(x) is not int:
        _, rest = _divided(x, by)
        return not isinstance(rest, Extent) and rest == 0
    return x % by == 0


def factor_of(x: int) -> int:
    """A number that divides another one for all sizes: itself, where it is the same for all."""
    return math.gcd(*(c for _, c in x.form)) if isinstance(x, Extent) else x


def pin(x: Any) -> None:
    """Note that what follows holds for the present value of a number alone."""
    note = WATCH.note
    if note is not None:
        if isinstance(x, Extent):
            note(Condition("==", x.form, form_of(plain(x)), True))
        elif isinstance(x, Ratio):
            note(Condition("==", x.tree, plain(x), True))


def fixed(x: Any) -> Any:
    """A number as a plain one, on whose value what follows hangs."""
    pin(x)
    return plain(x)


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


def plain(x: Any) -> Any:
    """A number as a plain one."""
    if type(x) is int:
        return x
    if isinstance(x, Extent):
        return int.__pos__(x)
    return float.__pos__(x) if isinstance(x, Ratio) else x


def at(x: Any, values: Values) -> Any:
    """A number with its formula for other sizes."""
    if isinstance(x, Extent):
        return _made(evaluate(x.form, values), x.form)
    if isinstance(x, Ratio):
        made = float.__new__(Ratio, evaluate(x.tree, values))
        made.tree = x.tree
        return made
    return x


def formula_key(value: Any) -> Any:
    """A value with formulas in place of numbers that have them: equal ones are equal for all sizes."""
    if isinstance(value, Extent):
        return value.form
    if isinstance(value, Ratio):
        return value.tree
    if isinstance(value, (tuple, list)):
        return tuple(map(formula_key, value))
    if hasattr(value, "shape"):  # the type of a tensor
        return value.dtype, formula_key(value.shape), value.device
    return (type(value), repr(value)) if isinstance(value, (bool, int, float, complex)) else value


def is_varying(value: Any) -> bool:
    """Whether a number, or one in nested tuples, lists and dictionaries, has a formula."""
    if isinstance(value, (Extent, Ratio)):
        return True
    if isinstance(value, dict):
        return any(map(is_varying, value.values()))
    return isinstance(value, (tuple, list)) and any(map(is_varying, value))
