"""Integers and floats with a formula over the sizes that vary from call to call, and their arithmetic.

Sums, products and quotients of them are such numbers again; what compares one, or needs it as a plain number, notes a
`Condition` where somebody listens (`tracec.ir.conditions`). `tracec.ir.extent` has what else is asked of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tracec.ir.conditions import TESTS, WATCH, Condition
from tracec.ir.formula import REAL, Form, constant_form, divided, is_constant, is_settled, product_of, sum_of, text


class Extent(int):
    """An integer with its formula.

    Attributes:
        form: The formula.
    """

    form: Form

    def __add__(self, other: Any) -> Any:
        if isinstance(other, int):
            return with_form(int.__add__(self, other), sum_of(self.form, form_of(other), 1))
        return ratio("+", self, other)

    def __radd__(self, other: Any) -> Any:
        return self + other if isinstance(other, int) else ratio("+", other, self)

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, int):
            return with_form(int.__sub__(self, other), sum_of(self.form, form_of(other), -1))
        return ratio("-", self, other)

    def __rsub__(self, other: Any) -> Any:
        if isinstance(other, int):
            return with_form(int.__rsub__(self, other), sum_of(form_of(other), self.form, -1))
        return ratio("-", other, self)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int):
            return with_form(int.__mul__(self, other), product_of(self.form, form_of(other)))
        return ratio("*", self, other)

    def __rmul__(self, other: Any) -> Any:
        return self * other if isinstance(other, int) else ratio("*", other, self)

    def __neg__(self) -> Any:
        return with_form(int.__neg__(self), sum_of(frozenset(), self.form, -1))

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    def __floordiv__(self, other: Any) -> Any:
        return division(self, other)[0] if isinstance(other, int) else ratio("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return division(other, self)[0] if isinstance(other, int) else ratio("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return division(self, other)[1] if isinstance(other, int) else ratio("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return division(other, self)[1] if isinstance(other, int) else ratio("%", other, self)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __truediv__(self, other: Any) -> Any:
        return ratio("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return ratio("/", other, self)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        if modulo is None and isinstance(other, int) and not isinstance(other, Extent) and 1 <= other <= 4:
            result = self
            for _ in range(other - 1):
                result = result * self
            return result
        return (
            ratio("**", self, other) if modulo is None and isinstance(other, float) else pow(fixed(self), other, modulo)
        )

    def __rpow__(self, other: Any, modulo: Any = None) -> Any:
        return ratio("**", other, self) if isinstance(other, float) else pow(other, fixed(self))

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
        return ratio("*", self, -1)

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
        return ratio(operation, other, self) if reflected else ratio(operation, self, other)

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


# Making and comparing -------------------------------------------------------------------------------------------


def form_of(x: float) -> Form:
    """The formula of a number."""
    if isinstance(x, Extent):
        return x.form
    return constant_form(int(x))


def with_form(value: int, form: Form) -> Any:
    """A number with a formula; a plain one where that is one."""
    if is_constant(form):
        return value
    made = int.__new__(Extent, value)
    made.form = form
    return made


def division(a: int, b: int) -> tuple[Any, Any]:
    """Quotient and remainder."""
    values, forms = divmod(plain(a), plain(b)), divided(form_of(a), form_of(b))
    return with_form(values[0], forms[0]), with_form(values[1], forms[1])


def with_tree(value: float, tree: Any) -> Ratio:
    """A float with a formula."""
    made = float.__new__(Ratio, value)
    made.tree = tree
    return made


def _tree(x: Any) -> Any:
    return x.form if isinstance(x, Extent) else x.tree if isinstance(x, Ratio) else x


def ratio(operation: str, a: Any, b: Any) -> Any:
    """What an operation of `REAL` gives, with its formula; a plain number where it is no float."""
    if not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return NotImplemented
    value = REAL[operation](plain(a), plain(b))
    if not isinstance(value, float):  # a root of a negative number
        return REAL[operation](fixed(a), fixed(b))
    return with_tree(value, (operation, _tree(a), _tree(b)))


def _shown(x: Any) -> str:
    """What stands for a number in a text; nothing where its value does."""
    if WATCH.write is not None:
        return WATCH.write(x)
    return f"<{text(_tree(x))}>" if WATCH.named else ""


def _compared(test: str, a: float, b: float) -> bool:
    """What a comparison gives, which is noted unless it is the same for all sizes."""
    outcome = TESTS[test](plain(a), plain(b))
    note = WATCH.note
    if note is not None:
        real = isinstance(a, float) or isinstance(b, float)
        left, right = (_tree(a), _tree(b)) if real else (form_of(a), form_of(b))
        if real or not is_settled(test, sum_of(left, right, -1)):
            note(Condition(test, left, right, outcome))
    return outcome


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


def plain(x: Any) -> Any:
    """A number as a plain one."""
    if type(x) is int:
        return x
    if isinstance(x, Extent):
        return int.__pos__(x)
    return float.__pos__(x) if isinstance(x, Ratio) else x
