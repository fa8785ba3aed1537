"""Comparisons by identity, ``a is b``, of numbers, texts or tuples: what they give depends on where these come from.

Where the user's functions compare what may be such, they are traced while they are recorded. One that does compare them
is run again at each call: no number stands in for another then, and no program for the function.
"""

from __future__ import annotations

import dis
import functools
import sys
import threading
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from tracec.record.cell import Cell
from tracec.specialisations.calls import aware
from tracec.specialisations.places import MISSING

#: Types of objects that are made anew wherever their value is.
_VALUES = (int, float, complex, str, bytes, tuple, range, slice, np.generic)
#: Attributes of tensors that are no such objects.
_OF_TENSORS = frozenset({"T", "_base", "data", "dtype", "grad", "grad_fn", "layout", "mT"})
_VARIABLES = ("LOAD_FAST", "LOAD_DEREF", "LOAD_NAME", "LOAD_GLOBAL")


class _Step(NamedTuple):
    """An instruction.

    Attributes:
        offset: Where it is.
        name: Its name.
        what: What it names.
        pushes: By how much the stack grows.
        lands: Whether jumps lead to it.
    """

    offset: int
    name: str
    what: Any
    pushes: int
    lands: bool


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
    steps: list[_Step] = []
    for i in dis.get_instructions(code):
        if isinstance(i.argval, tuple) and i.opname.startswith("LOAD_FAST"):  # of two variables
            steps += [_Step(i.offset, "LOAD_FAST", name, 1, i.is_jump_target) for name in i.argval]
        elif i.opname != "EXTENDED_ARG":
            pushes = dis.stack_effect(i.opcode, i.arg, jump=False)
            steps.append(_Step(i.offset, i.opname, i.argval, pushes, i.is_jump_target))
    found = {}
    for k, step in enumerate(steps):
        if step.name != "IS_OP":
            continue
        right = None if step.lands else _expression(steps, k)
        left = None if right is None or steps[right].lands else _expression(steps, right)
        sides = (
            None if left is None or right is None else _operand(steps[left:right]),
            None if right is None else _operand(steps[right:k]),
        )
        if not any(o is not None and o.kind == "LOAD_CONST" and not _is_value(o.what) for o in sides):
            found[step.offset] = sides
    return found


def _expression(steps: Sequence[_Step], end: int) -> int | None:
    """Where the instructions before one begin that push its last operand; None where jumps lead among them."""
    pushed = 0
    for at in range(end - 1, -1, -1):
        pushed += steps[at].pushes
        if pushed == 1:
            return at
        if steps[at].lands:
            return None
    return None


def _operand(steps: Sequence[_Step]) -> Operand | None:
    """What instructions push, where it is read plainly; a class for what asks for the class of something."""
    first, last = steps[0], steps[-1]
    if last.name == "LOAD_ATTR" and last.what == "__class__":
        return Operand("LOAD_CONST", type, ())
    if first.name == "LOAD_GLOBAL" and first.what == "type" and first.pushes == 2 and last.name == "CALL":
        # The only call: the callable is pushed with what every call takes beside it.
        if sum(s.name == "CALL" for s in steps) == 1:
            return Operand("LOAD_CONST", type, ())
    kind = next((v for v in (*_VARIABLES, "LOAD_CONST") if first.name.startswith(v)), None)
    if kind is None or any(s.name != "LOAD_ATTR" for s in steps[1:]):
        return None
    return Operand(kind, first.what, tuple(s.what for s in steps[1:]))


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
    if isinstance(x, Cell) and name in _OF_TENSORS:
        return None
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

    def test(frame: types.FrameType, offset: int) -> None:
        sides = suspects[frame.f_code].get(offset)
        if sides is None:
            return

        def names(kind: str) -> Mapping[str, Any]:
            return {**frame.f_builtins, **frame.f_globals} if kind == "LOAD_GLOBAL" else frame.f_locals

        if all(_may_be_value(o, names) for o in sides):
            note(f"{_WORDS}, at {frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}")

    watched = _monitored if sys.version_info >= (3, 12) else _traced
    with watched(suspects, test) if suspects else nullcontext(True) as is_seen:
        if not is_seen:  # somebody else looks
            note(_WORDS)
        yield


@contextmanager
def _traced(codes: Collection[types.CodeType], test: Callable[[types.FrameType, int], None]) -> Iterator[bool]:
    """Within, each instruction of some code is tested that this thread runs; False where that cannot be.

    By a trace function, which from Python 3.13 on is told of no instructions of the call that it is told of.
    """
    if sys.gettrace() is not None:
        yield False
        return

    def at(frame: types.FrameType, event: str, _: Any) -> Any:
        if event == "opcode":
            test(frame, frame.f_lasti)
        return at

    def trace(frame: types.FrameType, event: str, argument: Any) -> Any:
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return at

    sys.settrace(trace)
    try:
        yield True
    finally:
        sys.settrace(None)


@contextmanager
def _monitored(codes: Collection[types.CodeType], test: Callable[[types.FrameType, int], None]) -> Iterator[bool]:
    """The same by ``sys.monitoring``."""
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    thread, event = threading.get_ident(), monitoring.events.INSTRUCTION
    try:
        monitoring.use_tool_id(_TOOL, "tracec")
    except ValueError:
        yield False
        return

    def at(code: types.CodeType, offset: int) -> None:
        if threading.get_ident() == thread:
            test(sys._getframe(1), offset)

    try:
        monitoring.register_callback(_TOOL, event, at)
        for code in codes:
            monitoring.set_local_events(_TOOL, code, event)
        yield True
    finally:
        for code in codes:
            monitoring.set_local_events(_TOOL, code, 0)
        monitoring.register_callback(_TOOL, event, None)
        monitoring.free_tool_id(_TOOL)


#: The number of a tool for ``sys.monitoring`` that Python has given no purpose.
_TOOL = 4
_WORDS = "compares numbers, texts or tuples by identity, with `is`"
