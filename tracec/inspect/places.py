"""Where in the user's program something is read."""

from __future__ import annotations

import dis
import os
import re
from collections.abc import Iterable, Iterator
from types import CodeType

_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_VARIABLES = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS",
              "LOAD_FROM_DICT_OR_DEREF", "LOAD_FAST")  # fmt: skip


def where_read(name: str, codes: Iterable[CodeType]) -> str | None:
    """The first line of some functions that reads a variable or an attribute of an object.

    Args:
        name: How the user would write it: ``factor``, ``self.training``, ``options['p']``.
        codes: The functions; those nested in them are searched too.

    Returns:
        File and line; None where no line names it, as of attributes that the library reads.
    """
    # Of an item the line that names its container counts: the key may be computed.
    path = [part for part in re.split(r"\.(?![^\[]*\])|\[.*?\]", name) if part]
    if not path:
        return None
    wanted, opnames = path[-1], _VARIABLES if len(path) == 1 else _ATTRIBUTES
    return next((place for code in codes for place in _places(code, wanted, opnames)), None)


def _places(code: CodeType, wanted: str, opnames: tuple[str, ...]) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in opnames and instruction.argval == wanted:
            line = instruction.positions.lineno if instruction.positions else None
            yield f"{os.path.basename(code.co_filename)}:{line or code.co_firstlineno}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _places(constant, wanted, opnames)
