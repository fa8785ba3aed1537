"""The device functions that kernels call, read from ``templates/cuda/functions.cuh``."""

from __future__ import annotations

import re
from functools import cache

from tracec.codegen.render import render_template

_WORD = re.compile(r"[A-Za-z_]\w*")
_NAME = re.compile(r"^struct .*?(\w+) \{|^(?:template .*\n)?__device__ .*?(\w+)\(", re.MULTILINE)


@cache
def functions() -> dict[str, str]:
    """Name → definition, in the order of the file."""
    found: dict[str, str] = {}
    for section in re.split(r"\n\n+", render_template("cuda/functions.cuh").strip()):
        match = _NAME.search(section)
        if match:
            found[match[1] or match[2]] = section
    return found


def used_functions(text: str) -> tuple[str, ...]:
    """The definitions that a source needs, those that they call included, callees first."""
    known = functions()
    needed: set[str] = set()
    waiting = set(_WORD.findall(text)) & known.keys()
    while waiting:
        needed |= waiting
        waiting = {w for name in waiting for w in _WORD.findall(known[name]) if w in known} - needed
    return tuple(definition for name, definition in known.items() if name in needed)
