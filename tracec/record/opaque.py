"""Sizes as a recorded function sees them.

Library code reads an `Extent` where a size is symbolic: an int, which C code may read without asking. What the user's
code reads is no int, though it says so (``__class__``): every way into C goes through a method here, which notes that
the recording depends on the number.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.ir.extent import Extent, Ratio, Wrapped, as_real, fixed, nearest
from tracec.ir.number import Number
from tracec.record.state import STATE

#: Recorders at work whose sizes vary: functions look for `Opaque` among their arguments while there are any.
SIZED: set[Any] = set()


class Opaque(Wrapped):
    """A size, or what the user computes from one."""

    __slots__ = ()

    def __init__(self, number: Any) -> None:
        self.number = number

    @property
    def __class__(self) -> Any:
        return int if isinstance(self.number, int) else float

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise TypeError("the type of a number cannot be changed")

    def __bool__(self) -> bool:
        return bool(self.number)

    def __index__(self) -> int:
        if not isinstance(self.number, int):
            raise TypeError("'float' object cannot be interpreted as an integer")
        return fixed(self.number)  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return int(fixed(self.number))

    def __float__(self) -> float:
        return float(fixed(self.number))

    def __complex__(self) -> complex:
        return complex(fixed(self.number))

    def __hash__(self) -> int:
        return hash(fixed(self.number))

    def __str__(self) -> str:
        return str(fixed(self.number))

    def __repr__(self) -> str:
        return repr(fixed(self.number))

    def __format__(self, form: str) -> str:
        return format(fixed(self.number), form)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.asarray(fixed(self.number), dtype)

    def __reduce_ex__(self, protocol: Any) -> Any:
        value = fixed(self.number)
        return type(value), (value,)

    def __copy__(self) -> Opaque:
        return self

    def __deepcopy__(self, memo: Any) -> Opaque:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(fixed(self.number), name)

    def __neg__(self) -> Any:
        return opaque(-self.number)

    def __pos__(self) -> Any:
        return self

    def __abs__(self) -> Any:
        return opaque(abs(self.number))

    def __invert__(self) -> Any:
        return ~fixed(self.number)

    def __pow__(self, other: Any, modulo: Any = None) -> Any:
        return _power(self, other) if modulo is None else pow(*(fixed(unwrapped(x)) for x in (self, other, modulo)))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Any) -> Any:
        return other // self, other % self

    def __round__(self, digits: Any = None) -> Any:
        if isinstance(self.number, int):
            return opaque(round(self.number, digits))
        return opaque(nearest(round, self.number)) if digits is None else round(fixed(self.number), digits)

    def __trunc__(self) -> Any:
        return self if isinstance(self.number, int) else opaque(nearest(math.trunc, self.number))

    def __floor__(self) -> Any:
        return self if isinstance(self.number, int) else opaque(nearest(math.floor, self.number))

    def __ceil__(self) -> Any:
        return self if isinstance(self.number, int) else opaque(nearest(math.ceil, self.number))


def _operation(function: Callable[[Any, Any], Any], reflected: bool, compares: bool) -> Callable[[Any, Any], Any]:
    def method(self: Opaque, other: Any) -> Any:
        mine, other = self.number, unwrapped(other)
        if isinstance(other, Number):
            return NotImplemented  # which knows how to compute with sizes
        if not isinstance(other, (int, float)):
            if hasattr(type(other), "__array__") or (compares and not isinstance(other, complex)):
                return NotImplemented
            mine = fixed(mine)
        elif isinstance(other, float) and isinstance(mine, Extent):
            mine = as_real(mine)  # floats would take it for a plain int
        elif isinstance(other, Extent) and isinstance(mine, Ratio):
            other = as_real(other)
        found = function(other, mine) if reflected else function(mine, other)
        return found if compares else opaque(found)

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "lshift", "rshift", "and", "or", "xor"):
    _function = getattr(operator, f"__{_name}__")
    setattr(Opaque, f"__{_name}__", _operation(_function, reflected=False, compares=False))
    setattr(Opaque, f"__r{_name}__", _operation(_function, reflected=True, compares=False))
_power = _operation(operator.pow, reflected=False, compares=False)
Opaque.__rpow__ = _operation(operator.pow, reflected=True, compares=False)  # type: ignore[attr-defined]
for _name in ["eq", "ne", "lt", "le", "gt", "ge"]:
    setattr(Opaque, f"__{_name}__", _operation(getattr(operator, _name), reflected=False, compares=True))


def opaque(x: Any) -> Any:
    """What the user's code is given for a number, or for a tuple of them."""
    if isinstance(x, (Extent, Ratio)):
        return Opaque(x)
    return tuple(map(opaque, x)) if type(x) is tuple else x


def unwrapped(x: Any) -> Any:
    """What library code is given for an argument: for numbers those with formulas, in lists and tuples as well."""
    cls = type(x)
    if cls is Opaque:
        return x.number
    if isinstance(x, (list, tuple)) and any(type(v) is Opaque or isinstance(v, (list, tuple)) for v in x):
        parts = [unwrapped(v) for v in x]
        return parts if cls is list else tuple.__new__(cls, parts)
    if cls is slice:
        return slice(unwrapped(x.start), unwrapped(x.stop), unwrapped(x.step))
    return x


#: Modules that stand between users and what they call.
_BETWEEN = (
    "tracec.record.tensor",
    "tracec.record.public",
    "tracec.record.overriding",
    "tracec.record.opaque",
    "tracec.specialisations.by_name",
)


def for_caller(x: Any) -> Any:
    """Sizes as who asks for them may have them: library code as they are, others as `Opaque`."""
    if is_for_library(2):
        return x
    return plainly(x) if getattr(STATE.recorder, "gives_plain_sizes", False) else opaque(x)


def plainly(x: Any) -> Any:
    """A size, or a tuple of them, as plain numbers: what is recorded depends on them."""
    return tuple(map(plainly, x)) if type(x) is tuple else fixed(x)


def is_for_library(depth: int) -> bool:
    """Whether it is code of the library, rather than the user's, that calls what is that far up."""
    frame = sys._getframe(depth)
    name: str = frame.f_globals.get("__name__", "")
    while name in _BETWEEN and frame.f_back is not None:
        frame = frame.f_back
        name = frame.f_globals.get("__name__", "")
    return name.startswith("tracec.")
