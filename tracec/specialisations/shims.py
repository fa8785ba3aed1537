"""Shims for C functions that read numbers without asking them (of `math`, NumPy and the builtins), while recording.

They are put in the places where the user's functions name the originals, as globals or builtins, accept the proxies of
`tracec.ir.number`, and pass everything else on.
"""

from __future__ import annotations

import functools
import math
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from tracec.ir.expression import OF_SOME, OPERATIONS
from tracec.ir.extent import Extent, Ratio, function_of, plain
from tracec.ir.number import Number, calculate
from tracec.record.elements import Elements, elements_of
from tracec.record.opaque import Opaque, opaque, unwrapped
from tracec.record.state import STATE
from tracec.record.tensor import Tensor
from tracec.specialisations.append_only import AppendOnly
from tracec.specialisations.calls import asked
from tracec.specialisations.places import MISSING, Place


class _TypeOf(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and isinstance(args[0], (Number, Opaque, AppendOnly)):
            return args[0].__class__
        if len(args) == 1 and isinstance(args[0], (Extent, Ratio)):
            return type(plain(args[0]))
        return type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type)

    def __subclasscheck__(cls, subclass: Any) -> bool:
        return issubclass(subclass, type)


class TypeOf(type, metaclass=_TypeOf):
    """`type`, but for what stands in for numbers, sizes and lists the type that they stand for."""


def length(x: Any) -> Any:
    """`len`, but of a tensor the size along its first axis with what that depends on."""
    recorder = STATE.recorder
    if recorder is None or recorder.sizes is None or type(x) not in (Tensor, Elements) or not x.ndim:
        return len(x)
    return opaque(x._shape[0]) if type(x) is Tensor else x.shape[0]


#: Builtins in whose place others stand.
_BUILTINS = {"type": TypeOf, "len": length}


def _aware(name: str) -> Callable[..., Any]:
    """A function of `math` that gives Numbers of Numbers."""
    function = getattr(math, name)

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        args = tuple(map(asked, args))
        if any(isinstance(x, Number) for x in args):
            return calculate(f"math.{name}", *args)
        if any(isinstance(x, Opaque) for x in args):
            found = function_of(name, *map(unwrapped, args))
            return function(*args) if found is None else opaque(found)
        return function(*args)

    return run


_FUNCTIONS = {
    name.removeprefix("math."): _aware(name.removeprefix("math.")) for name in OPERATIONS if name.startswith("math.")
}


def _math() -> types.ModuleType:
    """The module as it is now, with such functions in place of its own."""
    made = types.ModuleType("math", math.__doc__)
    own = {k: f for k, f in _FUNCTIONS.items() if math.__dict__[k] is f.__wrapped__}  # type: ignore[attr-defined]
    made.__dict__.update({**math.__dict__, **own})
    return made


class _OfNumPy:
    """A function of NumPy's that gives Numbers of Numbers, or of a list of these.

    Args:
        name: Its name.
    """

    def __init__(self, name: str) -> None:
        self._kind, self.function = f"np.{name}", getattr(np, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == OF_SOME.get(self._kind, 1) and not kwargs:
            given = args[0] if self._kind in _OF_LISTS and type(args[0]) in (list, tuple) else args
            if any(isinstance(x, Number) for x in given) and all(isinstance(x, (int, float)) for x in given):
                return calculate(self._kind, *given)
        return self.function(*args, **kwargs)


class _Array(_OfNumPy):
    """A function of NumPy's that makes arrays, which does not look into tensors."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        made = elements_of(args[0]) if len(args) == 1 and not kwargs and type(args[0]) is Tensor else None
        if made is None:
            return self.function(*args, **kwargs)
        return made.copy() if self.function is np.array else made


_OF_LISTS = ("np.max", "np.mean", "np.median", "np.min", "np.prod", "np.std", "np.sum", "np.var")
_NUMPY = {k.removeprefix("np."): _OfNumPy(k.removeprefix("np.")) for k in OPERATIONS if k.startswith("np.")}
_NUMPY |= {name: _Array(name) for name in ("array", "asarray")}


def _numpy() -> types.ModuleType:
    """NumPy as it is now, with such functions in place of its own."""
    made = types.ModuleType("numpy", np.__doc__)
    own = {k: f for k, f in _NUMPY.items() if np.__dict__[k] is f.function}
    made.__dict__.update({**np.__dict__, **own})
    return made


def scheduling() -> list[tuple[Place, Any, Any]]:
    """`math` where optimisers and schedules compute with counts and rates, and what stands in for it."""
    loaded = sys.modules.copy()  # other threads may import meanwhile
    modules = [vars(m) for name, m in loaded.items() if name.startswith("tracec.optim.")]
    return [(Place(names, "math"), math, _math()) for names in modules if names.get("math") is math]


def shim_for(place: Place, value: Any) -> Any:
    """What stands in for a global while Numbers are about; None where nothing has to.

    Args:
        place: Where it is.
        value: Its value; `MISSING` where it is a builtin.
    """
    if value is MISSING:
        return _BUILTINS.get(place.key)
    if value is math:
        return _math()
    if value is np:
        return _numpy()
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math":
        return _FUNCTIONS.get(value.__name__)
    return None
