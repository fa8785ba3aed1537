"""Comparisons by identity, ``a is b``, of numbers, texts or tuples: what they give hangs on where these come from.

Where the user's functions compare what may be such, they are traced while they are recorded. One that does compare them
is run again at each call: no number stands in for another then, and no program for the function.
"""

from __future__ import annotations

import dis
import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from tracec.specialisations.calls import aware
from tracec.specialisations.places import MISSING

#: Types of objects that are made anew wherever their value is.
_VALUES = (int, float, complex, str, bytes, tuple, range, slice, np.generic)
_VARIABLES = ("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME", "LOAD_GLOBAL")


class Operand(NamedTuple):
    """What an instruction compares, as far as it is read plainly.

    Attributes:
        kind: The instruction that loads it.
        what: The name of the variable, or the constant.
        attributes: The attributes of that, of one another.
    """

    kind: str
    what: Any
    attributes: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def compared(code: types.CodeType) -> Mapping[int, tuple[Operand | None, Operand | None]]:
    """The comparisons by identity in code: offset → both sides; None for what is computed in some other way."""
    steps: list[tuple[int, str, Any, bool]] = []
    for i in dis.get_instructions(code):
        if isinstance(i.argval, tuple) and i.opname.startswith("LOAD_FAST"):  # of two variables
            steps += [(i.offset, "LOAD_FAST", name, i.is_jump_target) for name in i.argval]
        elif i.opname != "EXTENDED_ARG":
            steps.append((i.offset, i.opname, i.argval, i.is_jump_target))
    found = {}
    for k, (offset, name, _, is_target) in enumerate(steps):
        if name != "IS_OP":
            continue
        right, start, lands = (None, 0, True) if is_target else _operand(steps, k - 1)
        left = None if right is None or lands else _operand(steps, start - 1)[0]
        if not any(o is not None and o.kind == "LOAD_CONST" and not _is_value(o.what) for o in (left, right)):
            found[offset] = left, right
    return found


def _operand(steps: list[tuple[int, str, Any, bool]], at: int) -> tuple[Operand | None, int, bool]:
    """What is loaded by the instructions up to one, where they begin, and whether jumps lead there."""
    attributes: list[str] = []
    while at >= 0 and steps[at][1] == "LOAD_ATTR" and not steps[at][3]:
        attributes.insert(0, steps[at][2])
        at -= 1
    if at < 0 or steps[at][1] == "LOAD_ATTR":
        return None, at, True
    _, name, what, lands = steps[at]
    kind = next((v for v in (*_VARIABLES, "LOAD_CONST") if name.startswith(v)), None)
    return (None if kind is None else Operand(kind, what, tuple(attributes))), at, lands


def _is_value(x: Any) -> bool:
    return isinstance(x, _VALUES) and type(x) is not bool and not isinstance(x, Enum)


def _may_be_value(operand: Operand | None, names: Callable[[str], Mapping[str, Any]]) -> bool:
    """Whether a side of a comparison may be a number, text or tuple; the user's code is not asked."""
    if operand is None:
        return True
    x = operand.what
    if operand.kind != "LOAD_CONST":
        x = names(operand.kind).get(operand.what, MISSING)
    for attribute in operand.attributes:
        if x is MISSING:
            return True
        x = _attribute(x, attribute)
    return x is MISSING or _is_value(x)


def _attribute(x: Any, name: str) -> Any:
    """An attribute that is found where attributes are kept; `MISSING` where code would have to be asked for it."""
    if isinstance(x, types.ModuleType):
        return vars(x).get(name, MISSING)
    if isinstance(x, type):
        return next((vars(c)[name] for c in x.__mro__ if name in vars(c)), MISSING)
    of_class = next((vars(c)[name] for c in type(x).__mro__ if name in vars(c)), MISSING)
    if hasattr(type(of_class), "__set__"):
        return MISSING
    try:
        own = object.__getattribute__(x, "__dict__")
    except AttributeError:
        return MISSING
    for held in (own, *(own.get(k) for k in ("_parameters", "_buffers", "_modules"))):
        if isinstance(held, dict) and name in held:
            return held[name]
    return of_class if isinstance(of_class, types.FunctionType) else MISSING


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for c in code.co_consts:
        if isinstance(c, types.CodeType):
            yield from _codes(c)


def _suspects(function: types.FunctionType) -> Iterator[types.CodeType]:
    """The code of a function, and code in it, that may compare such by identity, as its globals are now."""

    def names(kind: str) -> Mapping[str, Any]:
        return function.__globals__ if kind == "LOAD_GLOBAL" else {}

    for whole in dict.fromkeys((function.__code__, aware(function))):
        for code in _codes(whole):
            if any(all(_may_be_value(o, names) for o in sides) for sides in compared(code).values()):
                yield code


@contextmanager
def identities_seen(functions: Iterable[types.FunctionType], note: Callable[[str], None]) -> Iterator[None]:
    """Within, comparisons by identity that the user's functions make of numbers, texts or tuples are noted.

    Args:
        functions: The functions.
        note: Is told of each, in words.
    """
    suspects = {code: compared(code) for function in functions for code in _suspects(function)}
    before = sys.gettrace()
    if not suspects:
        yield
        return
    if before is not None:  # somebody else traces
        note(_WORDS)
        yield
        return

    def at(frame: types.FrameType, event: str, _: Any) -> Any:
        sides = suspects[frame.f_code].get(frame.f_lasti) if event == "opcode" else None
        if sides is not None:

            def names(kind: str) -> Mapping[str, Any]:
                return {**frame.f_builtins, **frame.f_globals} if kind == "LOAD_GLOBAL" else frame.f_locals

            if all(_may_be_value(o, names) for o in sides):
                note(f"{_WORDS}, at {frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")
        return at

    def trace(frame: types.FrameType, event: str, argument: Any) -> Any:
        if frame.f_code not in suspects:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return at

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)


_WORDS = "compares numbers, texts or tuples by identity, with `is`"
