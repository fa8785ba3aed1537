"""Writing at computed positions."""

from __future__ import annotations

from tracec.codegen.cuda_entry import Routine, one_after_another
from tracec.codegen.cuda_map import map_entry
from tracec.ir.kernel import Kernel


def scatter_routine(kernel: Kernel, name: str) -> Routine:
    """The start in a function of its own: positions are written when all of it is there, each column in order."""
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return one_after_another(kernel, [map_entry(kernel, name)])
    entries = map_entry(kernel, f"{name}_start", start), map_entry(kernel, name, rest)
    return one_after_another(kernel, entries)
