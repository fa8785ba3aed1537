"""The device functions that kernels call: those of ``templates/cuda/functions.cuh``, and formulas."""

from __future__ import annotations

import re
from functools import cache

from tracec.codegen.cuda_dialect import CUDA
from tracec.codegen.render import render_template
from tracec.codegen.variates import FUNCTIONS, variate

_WORD = re.compile(r"[A-Za-z_]\w*")
_NAME = re.compile(r"^struct .*?(\w+) \{|^(?:template .*\n)?__device__ .*?(\w+)\(", re.MULTILINE)


@cache
def functions() -> dict[str, str]:
    """Name → definition, callees first."""
    found: dict[str, str] = {}
    for section in re.split(r"\n\n+", render_template("cuda/functions.cuh").strip()):
        match = _NAME.search(section)
        if match:
            found[match[1] or match[2]] = section
    return found | {n: render_template("cuda/variate.j2", f=variate(n, CUDA)) for n in FUNCTIONS}


def used_functions(text: str) -> tuple[str, ...]:
    """The definitions that a source needs, those that they call included, callees first."""
    known = functions()
    needed: set[str] = set()
    waiting = set(_WORD.findall(text)) & known.keys()
    while waiting:
        needed |= waiting
        waiting = {w for name in waiting for w in _WORD.findall(known[name]) if w in known} - needed
    return tuple(definition for name, definition in known.items() if name in needed)
