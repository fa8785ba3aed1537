"""Calls of ``float`` and ``int`` in the user's functions, as calls of what gives Numbers while a function is recorded.

What the classes' C code makes of a Number is a plain float, whose use nobody sees. So the functions run with other code
while they are recorded: where it is these names that are called, another function is. Any other use of the names
(``isinstance(x, float)``, ``dtype=float``) is of the classes themselves.
"""

from __future__ import annotations

import builtins
import dis
import types
from collections.abc import Callable
from typing import Any

from tracec.ir.extent import as_real
from tracec.ir.number import Number, converted
from tracec.record.elements import Elements
from tracec.record.opaque import Opaque, opaque
from tracec.record.overriding import CLASSES
from tracec.record.tensor import Tensor


def asked(x: Any) -> Any:
    """The only element of a tensor, as a number that may be another one at the next call; anything else as it is."""
    if type(x) is Elements and x.tensor is not None:
        x = x.tensor
    if isinstance(x, Tensor) and type(x) not in CLASSES and x._array.size == 1 and x._array.dtype.kind not in "bc":
        return x.item()
    return x


def _float(*args: Any, **kwargs: Any) -> float:
    x = asked(args[0]) if len(args) == 1 and not kwargs else None
    if type(x) is Opaque:
        return opaque(as_real(x.number))  # type: ignore[no-any-return]
    return converted(float, x) if isinstance(x, Number) else float(*args, **kwargs)


def _int(*args: Any, **kwargs: Any) -> int:
    x = asked(args[0]) if len(args) == 1 and not kwargs else None
    if type(x) is Opaque:
        return x.__trunc__()  # type: ignore[no-any-return]
    return converted(int, x) if isinstance(x, Number) else int(*args, **kwargs)


#: Builtins, and what is called in their place.
_INSTEAD: dict[str, Callable[..., Any]] = {"float": _float, "int": _int}
#: Code → the same with other calls; both are kept, so that the identity tells.
_KNOWN: dict[int, tuple[types.CodeType, types.CodeType]] = {}
_MOST = 4096


def aware(function: types.FunctionType) -> types.CodeType:
    """The code of a function with such calls; the very same where there are none, or the names mean something else."""
    names = {k for k in _INSTEAD if k not in function.__globals__ and getattr(builtins, k) is _CLASSES[k]}
    code = function.__code__
    if len(names) < len(_INSTEAD):
        return code
    found = _KNOWN.get(id(code))
    if found is None:
        if len(_KNOWN) > _MOST:
            _KNOWN.clear()
        found = _KNOWN[id(code)] = code, _with_calls(code)
    return found[1]


_CLASSES = {"float": float, "int": int}


def _with_calls(code: types.CodeType) -> types.CodeType:
    consts = tuple(_with_calls(c) if isinstance(c, types.CodeType) else c for c in code.co_consts)
    changed = any(a is not b for a, b in zip(consts, code.co_consts, strict=True))
    if not _INSTEAD.keys().isdisjoint(code.co_names):
        text = bytearray(code.co_code)
        steps = [step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"]
        for before, step in zip((None, *steps), steps, strict=False):
            if step.opname != "LOAD_GLOBAL" or step.argval not in _INSTEAD:
                continue
            if not (_is_called(step) or (before is not None and before.argval == "map" and _is_called(before))):
                continue
            start = step.offset
            while start and text[start - 2] == dis.opmap["EXTENDED_ARG"]:  # of a name behind many others
                start -= 2
            nothing = bytes([dis.opmap["NOP"], 0]) * ((step.offset - start) // 2)
            text[start : step.offset + 2 * _UNITS] = nothing + _load(step, len(consts))
            consts = (*consts, _INSTEAD[step.argval])
            changed = True
        if changed:
            return code.replace(co_consts=consts, co_code=bytes(text))
    return code.replace(co_consts=consts) if changed else code


def _is_called(step: dis.Instruction) -> bool:
    """Whether what an instruction loads is called."""
    return step.opname == "LOAD_GLOBAL" and "NULL" in step.argrepr


def _load(step: dis.Instruction, at: int) -> bytes:
    """Instructions as long as one that loads a global, which load a constant in its place."""
    constant = [dis.opmap["EXTENDED_ARG"], at >> 8, dis.opmap["LOAD_CONST"], at & 255]
    null = [dis.opmap["PUSH_NULL"], 0] if _is_called(step) else []
    found = [*null, *constant] if step.argrepr.startswith("NULL") else [*constant, *null]
    return bytes([*found, *([dis.opmap["NOP"], 0] * (_UNITS - len(found) // 2))])


def _units() -> int:
    """How many units of code a load of a global takes, with what the interpreter notes beside it."""
    steps = [i.offset for i in dis.get_instructions((lambda: float(0)).__code__)]
    at = [i.opname for i in dis.get_instructions((lambda: float(0)).__code__)].index("LOAD_GLOBAL")
    return (steps[at + 1] - steps[at]) // 2


_UNITS = _units()
