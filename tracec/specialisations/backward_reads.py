"""What user-defined backward functions read: they run when gradients go back, by when that may have changed."""

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
from tracec.specialisations.digests import Names, names_of
from tracec.specialisations.draws import drawing
from tracec.specialisations.holders import Attributes, NameOf
from tracec.specialisations.impure import CALLS, told
from tracec.specialisations.keys import PLAIN
from tracec.specialisations.origins import is_of_library, of_library
from tracec.specialisations.places import MISSING, Place, same

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


class ReadsState(Exception):
    """A backward function of the user's reads what may be otherwise when it is called."""


def constants_of(function: Any, owner: type | None = None) -> list[Constant]:
    """The values that a function reads, and functions and classes of the user's that it uses; the library's aside.

    Args:
        function: The function.
        owner: The class whose attribute ``backward`` it is, if it is one's.

    Raises:
        ReadsState: it reads what may change unseen, or writes.
    """
    found: list[Constant] = []
    if owner is not None and isinstance(function, types.FunctionType):
        found.append(Constant(f"{owner.__name__}.backward", Place(NameOf(owner), "backward"), function))
    seen: set[int] = set()
    used = [function]
    while used:
        one = used.pop()
        if id(one) in seen or not isinstance(one, (type, types.FunctionType)) or _is_of_library(one):
            continue
        seen.add(id(one))
        if isinstance(one, types.FunctionType):
            _refuse_what_changes_unseen(one)
            found += _itself(one)
        for name, place in _of_class(one) if isinstance(one, type) else _read(one):
            value = place.now()
            if not isinstance(value, PLAIN) and not _lasts(value):
                raise ReadsState(f"reads {name}")
            if not isinstance(value, types.BuiltinFunctionType) and not _is_of_library(value):
                found.append(Constant(name, place, value))
                used += [value.fget] if isinstance(value, property) else [getattr(value, "__func__", value)]
    return found


def _refuse_what_changes_unseen(fn: types.FunctionType) -> None:
    names = names_of(fn.__code__)
    for name in (*names.written, *_cells_written(fn.__code__)):
        raise ReadsState(f"writes {name}")
    for name in (*names.globals, *sorted(names.attributes)):
        if name in CALLS:
            raise ReadsState(f"reads {CALLS[name]}")


def _is_of_library(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        return is_of_library(value)
    return isinstance(value, type) and of_library(value.__module__)


def _read(fn: types.FunctionType) -> Iterator[tuple[str, Place]]:
    names = names_of(fn.__code__)
    for name in names.globals:
        place = Place(fn.__globals__ if name in fn.__globals__ else vars(builtins), name)
        yield from _of_modules(name, place, names)
    for name in names.modules:
        yield from _of_modules(name, Place(sys.modules, name), names)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        yield from _of_modules(name, Place(cell, None), names)
    defaults = fn.__defaults__ or ()
    positional = fn.__code__.co_varnames[: fn.__code__.co_argcount]
    for k, name in enumerate(positional[len(positional) - len(defaults) :]):
        yield name, Place(defaults, k)
    for name in fn.__kwdefaults__ or ():
        yield name, Place(fn.__kwdefaults__, name)
    for name in sorted(k for k in fn.__dict__ if not k.startswith("__")):
        yield f"{fn.__name__}.{name}", Place(fn.__dict__, name)


def _itself(fn: types.FunctionType) -> Iterator[Constant]:
    """The code of a function, and where its defaults are, each of which is looked at by itself."""
    for name in ("__code__", "__defaults__", "__kwdefaults__"):
        yield Constant(f"{fn.__name__}.{name}", Place(NameOf(fn), name), getattr(fn, name))


def _of_class(cls: type) -> Iterator[tuple[str, Place]]:
    """The attributes of a class and of those of its bases that are the user's, be it that one has not got one."""
    bases = [base for base in cls.__mro__ if not of_library(base.__module__)]
    for k in dict.fromkeys(k for base in bases for k, v in vars(base).items() if _counts(k, v)):
        for base in bases:
            yield f"{base.__name__}.{k}", Place(Attributes(base), k)


def _counts(name: str, value: Any) -> bool:
    return not name.startswith("__") or isinstance(value, types.FunctionType)


def _of_modules(name: str, place: Place, names: Names) -> Iterator[tuple[str, Place]]:
    """A place; in place of a module what is read of it, of a library's what draws or reads from outside."""
    value = place.now()
    if not isinstance(value, types.ModuleType):
        yield name, place
        return
    if name.rpartition(".")[2] in names.whole and not _BY_NAME.isdisjoint(names.globals):
        raise ReadsState(f"reads attributes of {name} by their names")
    missing = names.of_name(name) if "__getattr__" not in vars(value) else frozenset()
    for k in sorted(names.attributes & vars(value).keys() | missing):
        part = vars(value).get(k, MISSING)
        inner = names._replace(attributes=names.attributes - {k})
        if part is MISSING or isinstance(part, types.ModuleType) or not of_library(value.__name__):
            yield from _of_modules(f"{name}.{k}", Place(vars(value), k), inner)
        elif told(part) or drawing(part):
            yield f"{name}.{k}", Place(vars(value), k)


#: Builtins that read attributes by names.
_BY_NAME = frozenset(("dir", "getattr", "hasattr", "vars"))


def _cells_written(code: types.CodeType) -> list[str]:
    stores = (i.argval for i in dis.get_instructions(code) if i.opname in ("STORE_DEREF", "DELETE_DEREF"))
    return [name for name in stores if name in code.co_freevars]


def _lasts(value: Any) -> bool:
    """Whether a value does the same whenever it is used, as long as it is in its place."""
    if isinstance(value, type):
        return all(k.startswith("__") or _lasts(v) for k, v in _own(value))
    if told(value) is not None:
        return False
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType) and value.__name__ not in _ACTING
    return value is MISSING or isinstance(value, _LASTING)


#: Types of what does so.
_LASTING = (
    DType, types.FunctionType, types.CodeType, property, classmethod, staticmethod, types.GetSetDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip


def _own(cls: type) -> Iterator[tuple[str, Any]]:
    """What the user's classes among a class and its bases hold."""
    for base in cls.__mro__:
        if not of_library(base.__module__):
            yield from vars(base).items()


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
