"""What the user's backward functions read: they run when gradients go back, by when that may have changed."""

from __future__ import annotations

import builtins
import dis
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tracec.build import Runner
from tracec.errors import GradientError
from tracec.ir.dtype import DType
from tracec.specialisations.digests import names_of
from tracec.specialisations.draws import drawing
from tracec.specialisations.impure import CALLS, told
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.origins import of_library
from tracec.specialisations.places import Place, same

#: Builtins that do more than give something.
_ACTING = ("breakpoint", "delattr", "input", "open", "print", "setattr", "vars")


class Constant(NamedTuple):
    """A value that a backward function reads from around it.

    Attributes:
        name: Its name.
        place: Where it is.
        value: What it was.
    """

    name: str
    place: Place
    value: Any


class HangsOn(Exception):
    """A backward function of the user's reads what may be otherwise when it is called."""


def constants_of(function: Any) -> list[Constant]:
    """The values that a function reads, and functions of the user's that it calls; those of the library aside.

    Raises:
        HangsOn: it reads what may change unseen, or writes.
    """
    found: list[Constant] = []
    seen: set[int] = set()
    functions = [function]
    while functions:
        fn = functions.pop()
        if not isinstance(fn, types.FunctionType) or id(fn) in seen:
            continue
        seen.add(id(fn))
        names = names_of(fn.__code__)
        for name in (*names.written, *_cells_written(fn.__code__)):
            raise HangsOn(f"writes {name}")
        for name in (*names.globals, *sorted(names.attributes)):
            if name in CALLS:
                raise HangsOn(f"reads {CALLS[name]}")
        for name, place in _read(fn):
            value = place.now()
            if not isinstance(value, PLAIN) and not _lasts(value):
                raise HangsOn(f"reads {name}")
            if not isinstance(value, types.BuiltinFunctionType) and not _is_of_library(value):
                found.append(Constant(name, place, value))
                functions += _methods(value) if isinstance(value, type) else [value]
    return found


def _is_of_library(value: Any) -> bool:
    return isinstance(value, (type, types.FunctionType)) and of_library(value.__module__)


def _read(fn: types.FunctionType) -> Iterator[tuple[str, Place]]:
    names = names_of(fn.__code__)
    for name in names.globals:
        place = Place(fn.__globals__ if name in fn.__globals__ else vars(builtins), name)
        yield from _of_modules(name, place, names.attributes)
    for name in names.modules:
        yield from _of_modules(name, Place(sys.modules, name), names.attributes)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        yield from _of_modules(name, Place(cell, None), names.attributes)
    defaults = fn.__defaults__ or ()
    positional = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    for k, name in enumerate(positional[len(positional) - len(defaults) :]):
        yield name, Place(defaults, k)
    for name in fn.__kwdefaults__ or ():
        yield name, Place(fn.__kwdefaults__, name)


def _of_modules(name: str, place: Place, attributes: frozenset[str]) -> Iterator[tuple[str, Place]]:
    """A place; in place of a module what is read of it, of a library's what draws or reads from outside."""
    value = place.now()
    if not isinstance(value, types.ModuleType):
        yield name, place
        return
    for k in sorted(attributes & vars(value).keys()):
        part = vars(value)[k]
        if isinstance(part, types.ModuleType) or not of_library(value.__name__) or told(part) or drawing(part):
            yield from _of_modules(f"{name}.{k}", Place(vars(value), k), attributes - {k})


def _cells_written(code: types.CodeType) -> list[str]:
    stores = (i.argval for i in dis.get_instructions(code) if i.opname in ("STORE_DEREF", "DELETE_DEREF"))
    return [name for name in stores if name in code.co_freevars]


def _lasts(value: Any) -> bool:
    """Whether a value does the same whenever it is used, as long as it is in its place."""
    if isinstance(value, type):
        return all(k.startswith("__") or isinstance(v, (classmethod, property)) or callable(v) for k, v in _own(value))
    if told(value) is not None:
        return False
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType) and value.__name__ not in _ACTING
    return isinstance(value, (DType, types.FunctionType))


def _own(cls: type) -> Iterator[tuple[str, Any]]:
    """What the user's classes among a class and its bases hold."""
    for base in cls.__mro__:
        if not of_library(base.__module__):
            yield from vars(base).items()


def _methods(cls: type) -> list[Any]:
    return [v.fget if isinstance(v, property) else getattr(v, "__func__", v) for _, v in _own(cls)]


def held_to(run: Runner, constants: Sequence[Constant]) -> Runner:
    """A program of gradients that is refused where plain values are others than when it was recorded."""
    if not constants:
        return run

    def held(arrays: Any) -> Any:
        for constant in constants:
            now = constant.place.now()
            if not same(constant.value, now):
                raise GradientError(
                    f"backward: {constant.name}, which a backward function of a compiled function reads, was "
                    f"{constant.value!r} when that was called and is {now!r} now",
                    hint="keep it on ctx in forward",
                )
        return run(arrays)

    return held
