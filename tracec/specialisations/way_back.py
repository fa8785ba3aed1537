"""What the user's backward functions read: they run when gradients go back, by when that may have changed."""

from __future__ import annotations

import builtins
import dis
import types
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tracec.build import Runner
from tracec.errors import GradientError
from tracec.ir.dtype import DType
from tracec.specialisations.digests import names_of
from tracec.specialisations.origins import of_library
from tracec.specialisations.places import PLAIN, Place

#: Builtins that do more than give something.
_ACTING = ("breakpoint", "delattr", "eval", "exec", "globals", "input", "open", "print", "setattr", "vars")


class Constant(NamedTuple):
    """A plain value that a backward function reads from around it.

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
    """The plain values that a function reads, and functions of the user's that it calls.

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
        for name in (*names_of(fn.__code__).written, *_cells_written(fn.__code__)):
            raise HangsOn(f"writes {name}")
        for name, place in _read(fn):
            value = place.now()
            if isinstance(value, PLAIN) and value is not None:
                found.append(Constant(name, place, value))
            elif isinstance(value, types.FunctionType) and not of_library(value.__module__):
                functions.append(value)
            elif not _lasts(name, value):
                raise HangsOn(f"reads {name}")
    return found


def _read(fn: types.FunctionType) -> Iterator[tuple[str, Place]]:
    for name in names_of(fn.__code__).globals:
        yield name, Place(fn.__globals__ if name in fn.__globals__ else vars(builtins), name)
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True):
        yield name, Place(cell, None)


def _cells_written(code: types.CodeType) -> list[str]:
    stores = (i.argval for i in dis.get_instructions(code) if i.opname in ("STORE_DEREF", "DELETE_DEREF"))
    return [name for name in stores if name in code.co_freevars]


def _lasts(name: str, value: Any) -> bool:
    """Whether what a name stands for does the same whenever it is used."""
    if isinstance(value, type):
        own = {} if of_library(value.__module__) else vars(value)
        return all(
            k.startswith("__") or isinstance(v, (staticmethod, classmethod, property)) or callable(v)
            for k, v in own.items()
        )
    if isinstance(value, types.BuiltinFunctionType):
        return name not in _ACTING
    return value is None or isinstance(value, (DType, types.ModuleType, types.FunctionType))


def held_to(run: Runner, constants: Sequence[Constant]) -> Runner:
    """A program of gradients that is refused where plain values are others than when it was recorded."""
    if not constants:
        return run

    def held(arrays: Any) -> Any:
        for constant in constants:
            now = constant.place.now()
            if type(now) is not type(constant.value) or now != constant.value:
                raise GradientError(
                    f"backward: {constant.name}, which a backward function of a compiled function reads, was "
                    f"{constant.value!r} when that was called and is {now!r} now",
                    hint="keep it on ctx in forward",
                )
        return run(arrays)

    return held
