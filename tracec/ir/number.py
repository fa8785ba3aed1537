"""Python numbers that may be others at the next call: what they are now, and how they are computed.

While a function is recorded, a `Number` stands in for a plain int or float that was read. Arithmetic with it gives
Numbers again. What the function asks of it otherwise (its truth, how it compares, its digits) is answered as a plain
number would, and told to the thread's watcher: the recording is right for all numbers of which the answer is the same.

    n = watcher.number(0.1, "lr")    n.value = 0.1    n.expression = lr
    half = n / 2                     half.value = 0.05, half.expression = lr / 2, told nothing
    half < 0.01                      False, told (lr / 2 < 0.01, False)
    math.sqrt(half)                  0.2236…, told (lr / 2, 0.05): it escaped

It is no subclass of int or float, since C code would read those without asking. ``isinstance`` is answered by
``__class__``, and every way into C by a method here. Where its watcher is not the thread's, it is a plain number.
"""

from __future__ import annotations

import operator
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tracec.ir.expression import OPERATIONS, Condition, Expression, constant, operation, symbol
from tracec.ir.extent import Wrapped, fixed
from tracec.ir.extent import plain as plain_size


class _Watch(threading.local):
    watcher: Watcher | None = None


#: Who watches in this thread.
WATCH = _Watch()


def observe(what: str) -> None:
    """Note, where a function is being recorded in this thread, that it read something that no guard can tell of."""
    watcher = WATCH.watcher
    if watcher is not None and watcher.observed is None:
        watcher.observed = what


class Watcher:
    """Gives out Numbers and learns what is asked of them.

    Attributes:
        symbols: Names of the symbols given out; a symbol's number is its place.
        conditions: Expression → what it was, in the order in which they were asked for first.
        observed: Something that was read and cannot be watched, in words.
    """

    observed: str | None = None
    #: Whether sizes that vary are computed with as Numbers are, where they have no formula otherwise.
    mixes = True

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.conditions: dict[Expression, Any] = {}

    def symbol(self, name: str) -> Expression:
        """A new symbol.

        Args:
            name: How the user would write it.
        """
        self.symbols.append(name)
        return symbol(len(self.symbols) - 1, name)

    def number(self, value: int | float, name: str) -> Number:
        """A number for a new symbol.

        Args:
            value: What it is now; an int or a float, no bool.
            name: How the user would write it.
        """
        return number(value, self.symbol(name), self)

    def note(self, expression: Expression, value: Any) -> None:
        """Learn that the function went by what an expression was."""
        self.conditions.setdefault(expression, value)

    def all_conditions(self) -> list[Condition]:
        """What was learned, in order."""
        return [Condition(e, v) for e, v in self.conditions.items()]


@contextmanager
def watching(watcher: Watcher | None) -> Iterator[None]:
    """Within, Numbers of that watcher are watched in this thread; with None, all are plain."""
    before = WATCH.watcher
    try:
        WATCH.watcher = watcher
        yield
    finally:
        WATCH.watcher = before


def _both(kind: str) -> tuple[Any, Any]:
    """The methods of an operator: for the left and for the right operand."""
    function = OPERATIONS[kind].function

    def left(self: Number, other: Any) -> Any:
        return calculate(kind, self, other) if _is_number(other) else _otherwise(function, self, other)

    def right(self: Number, other: Any) -> Any:
        return calculate(kind, other, self) if _is_number(other) else _otherwise(function, self, other, reflected=True)

    return left, right


def _comparison(kind: str) -> Any:
    """The method of a comparison."""
    function = OPERATIONS[kind].function

    def compare(self: Number, other: Any) -> Any:
        if _is_number(other):
            return calculate(kind, self, other)
        if kind in ("==", "!=") and type(other) in _OTHERS:
            return NotImplemented
        return _otherwise(function, self, other)

    return compare


class Number:
    """An int or float that may be another one at the next call; its kinds are `Integer` and `Float`.

    Attributes:
        value: What it is in this recording.
        expression: How it is computed from symbols.
        watcher: Who gave it out.
    """

    __slots__ = ("expression", "value", "watcher")

    value: int | float
    expression: Expression
    watcher: Watcher

    @property
    def __class__(self) -> Any:
        return type(self.value)

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("the type of a number cannot be changed")

    # Plain again --------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        found = bool(self.value)
        self._note(operation("bool", self.expression), found)
        return found

    def __int__(self) -> int:
        return int(escaped(self))

    def __float__(self) -> float:
        return float(escaped(self))

    def __complex__(self) -> complex:
        return complex(escaped(self))

    def __hash__(self) -> int:
        return hash(escaped(self))

    def __str__(self) -> str:
        return str(escaped(self))

    def __repr__(self) -> str:
        return repr(escaped(self))

    def __format__(self, form: str) -> str:
        return format(escaped(self), form)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(escaped(self), dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """What NumPy makes of it: with one of its floats on the left a Number; it sees the plain number otherwise."""
        kind = _OF_UFUNCS.get(ufunc)
        if kind is not None and method == "__call__" and not kwargs and np.float64 in map(type, inputs):
            if all(map(_is_number, inputs)):
                return calculate(kind, *inputs)
        plain_ones = [escaped(x) if isinstance(x, Number) else x for x in inputs]
        return getattr(ufunc, method)(*plain_ones, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        value = escaped(self)
        return type(value), (value,)

    def __copy__(self) -> Number:
        return self

    def __deepcopy__(self, memo: Any) -> Number:
        return self

    def __getattr__(self, name: str) -> Any:
        """What plain numbers have besides; NumPy's have a method that gives them as floats."""
        if name == "item" and type(self.value) is np.float64:
            return lambda: calculate("float", self)
        if not hasattr(self.value, name):
            raise AttributeError(f"{type(self.value).__name__!r} object has no attribute {name!r}")
        return getattr(escaped(self), name)

    @property
    def real(self) -> Number:
        """The number itself."""
        return self

    def conjugate(self) -> Number:
        """The number itself."""
        return self

    def _note(self, expression: Expression, value: Any) -> None:
        if self.watcher is WATCH.watcher:
            self.watcher.note(expression, value)

    # Arithmetic ---------------------------------------------------------------------------------------

    def __neg__(self) -> Any:
        return calculate("neg", self)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return calculate("abs", self)

    def __round__(self, digits: Any = None) -> Any:
        if digits is None:
            return calculate("nearest", self)
        return calculate("round", self, escaped(digits) if isinstance(digits, Number) else digits)

    def __floor__(self) -> Any:
        return calculate("math.floor", self)

    def __ceil__(self) -> Any:
        return calculate("math.ceil", self)

    def __trunc__(self) -> Any:
        return calculate("math.trunc", self)

    def __divmod__(self, other: Any) -> Any:
        if not _is_number(other):
            return _otherwise(divmod, self, other)
        return calculate("//", self, other), calculate("%", self, other)

    def __rdivmod__(self, other: Any) -> Any:
        if not _is_number(other):
            return _otherwise(divmod, self, other, reflected=True)
        return calculate("//", other, self), calculate("%", other, self)

    def __pow__(self, other: Any, modulus: Any = None) -> Any:
        if modulus is not None:
            return pow(escaped(self), plain(other), plain(modulus))
        return calculate("**", self, other) if _is_number(other) else _otherwise(operator.pow, self, other)

    def __rpow__(self, other: Any, modulus: Any = None) -> Any:
        if _is_number(other):
            return calculate("**", other, self)
        return _otherwise(operator.pow, self, other, reflected=True)

    __add__, __radd__ = _both("+")
    __sub__, __rsub__ = _both("-")
    __mul__, __rmul__ = _both("*")
    __truediv__, __rtruediv__ = _both("/")
    __floordiv__, __rfloordiv__ = _both("//")
    __mod__, __rmod__ = _both("%")
    __eq__, __ne__ = _comparison("=="), _comparison("!=")
    __lt__, __le__ = _comparison("<"), _comparison("<=")
    __gt__, __ge__ = _comparison(">"), _comparison(">=")


class Integer(Number):
    """An int."""

    __slots__ = ()
    value: int

    def __index__(self) -> int:
        return escaped(self)  # type: ignore[return-value]

    @property
    def numerator(self) -> Number:
        """The number itself."""
        return self

    def __invert__(self) -> Any:
        return calculate("invert", self)

    __lshift__, __rlshift__ = _both("<<")
    __rshift__, __rrshift__ = _both(">>")
    __and__, __rand__ = _both("&")
    __or__, __ror__ = _both("|")
    __xor__, __rxor__ = _both("^")


class Float(Number):
    """A float."""

    __slots__ = ()
    value: float

    def is_integer(self) -> bool:
        """Whether it is a whole number."""
        return calculate("is_integer", self)  # type: ignore[no-any-return]


def number(value: int | float, expression: Expression, watcher: Watcher) -> Number:
    """A Number of the kind that its value is of."""
    made: Number = object.__new__(Integer if type(value) is int else Float)
    made.value, made.expression, made.watcher = value, expression, watcher
    return made


def plain(x: Any) -> Any:
    """A Number or size as a plain one, which the recording then depends on; anything else as it is."""
    if isinstance(x, Wrapped):
        return fixed(x.number)
    return escaped(x) if isinstance(x, Number) else x


def value_of(x: Any) -> Any:
    """What a Number is in this recording, with no condition on it; anything else as it is."""
    return x.value if isinstance(x, Number) else x


def converted(kind: Any, x: Any) -> Any:
    """``kind(x)`` for float, int, bool and complex, which leaves Numbers what they are where it can."""
    if isinstance(x, Number) and (kind is float or kind is int):
        if kind is int:
            return x if isinstance(x, Integer) else calculate("math.trunc", x)
        return x if type(x.value) is float else calculate("float", x)
    return kind(x)


def escaped(x: Number) -> int | float:
    """What a Number is; from here on the recording is for that number alone."""
    x._note(x.expression, x.value)
    return x.value


def is_watched(x: Any) -> bool:
    """Whether this is a Number that is watched in this thread."""
    return isinstance(x, Number) and x.watcher is WATCH.watcher


def calculate(kind: str, *operands: Any) -> Any:
    """An operation of `OPERATIONS` on Numbers, sizes that vary and plain numbers.

    Returns:
        A Number where an operand is one that is watched, or such a size, and the result an int or float; otherwise a
        plain value.
    """
    watcher = WATCH.watcher
    if any(isinstance(x, Wrapped) for x in operands) and (watcher is None or not watcher.mixes or kind == "**"):
        operands = tuple(fixed(x.number) if isinstance(x, Wrapped) else x for x in operands)
    values = [plain_size(x.number) if isinstance(x, Wrapped) else value_of(x) for x in operands]
    watched = [] if watcher is None else [x for x in operands if isinstance(x, Wrapped) or is_watched(x)]
    if watcher is None or not watched:
        return OPERATIONS[kind].function(*values)
    try:
        result = OPERATIONS[kind].function(*values)
    except (ArithmeticError, ValueError):
        for x in watched:
            plain(x)
        raise
    if type(result) not in _RESULTS:  # a negative float to a broken power is complex
        for x in watched:
            plain(x)
        return result
    found = operation(kind, *map(_expression_of, operands))
    if type(result) is bool:
        watcher.note(found, result)
        return result
    if type(result) is np.bool_:
        watcher.note(operation("bool", found), bool(result))
        return result
    if kind == "**" and not _keeps_type(*operands):
        watcher.note(operation("type", found), type(result))
    return number(result, found, watcher)


def _expression_of(x: Any) -> Expression:
    if isinstance(x, Wrapped):
        return constant(x.number)
    return x.expression if is_watched(x) else constant(value_of(x))


def _keeps_type(base: Any, exponent: Any) -> bool:
    """Whether a power is of the same type whatever the Numbers among base and exponent are."""
    if not isinstance(exponent, Number):
        return (type(base.value) is int and type(exponent) is not float) or float(exponent).is_integer()
    return not isinstance(base, Number) and base >= 0 and (type(base) is float or type(exponent.value) is float)


def _is_number(x: Any) -> bool:
    return type(x) in _NUMBERS or type(x) is np.float64 or isinstance(x, (Number, Wrapped))


#: What operators of NumPy's floats call.
_OF_UFUNCS = {
    np.add: "+", np.subtract: "-", np.multiply: "*", np.true_divide: "/", np.floor_divide: "//", np.remainder: "%",
    np.power: "**", np.less: "<", np.less_equal: "<=", np.equal: "==", np.not_equal: "!=", np.greater: ">",
    np.greater_equal: ">=",
}  # fmt: skip
_NUMBERS = (int, float, bool)
_RESULTS = (*_NUMBERS, np.float64, np.bool_)
#: What no number is equal to.
_OTHERS = (str, bytes, type(None), list, tuple, dict, set, type)


def _otherwise(function: Callable[[Any, Any], Any], n: Number, other: Any, reflected: bool = False) -> Any:
    """What a number and something else make: that is left to arrays and tensors; others meet the plain number."""
    if hasattr(type(other), "__array__"):
        return NotImplemented
    value = escaped(n)
    return function(other, value) if reflected else function(value, other)
