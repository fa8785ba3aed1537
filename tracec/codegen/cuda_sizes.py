"""Kernels for many sizes on a GPU: functions that are given sizes, and launched on as many blocks as these ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tracec.codegen.cuda_entry import Entry
from tracec.codegen.cuda_writer import LIMIT
from tracec.codegen.sizes import Table, names_in
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Kernel, Loop, Scratch, Stmt, walk
from tracec.ir.launch import Number
from tracec.ir.resize import Settled


def is_open(kernel: Kernel) -> bool:
    """Whether one source of a kernel is right for all sizes.

    What a row or a column keeps on chip has a place in the source for each element: its length is no argument.
    """
    if Settled({}).kernel(kernel) is kernel:
        return True
    kept = [s for s in walk(kernel.body) if isinstance(s, Scratch)]
    return not (kept and _varies_inside(kernel.body))


def _varies_inside(body: Iterable[Stmt]) -> bool:
    """Whether loops within the parallel and shared ones have extents that vary."""
    loops = [s for s in body if isinstance(s, Loop)]
    return any(
        (s.kind not in ("parallel", "share") and is_varying(s.var.extent)) or _varies_inside(s.body) for s in loops
    )


def with_numbers(entry: Entry, table: Table) -> Entry:
    """The function with the numbers that it names among its parameters."""
    numbers, parameters = [], []
    for name in names_in(str(entry.function)):
        size = table.sizes[name.number] if name.kind == "size" else None
        whole = "long long" if size is not None and size >= LIMIT else "int"
        number = Number("double", table.reals[name.number]) if size is None else Number(whole, size)
        numbers.append(number)
        parameters.append(f"const {number.type} {name}")
    if not numbers:
        return entry
    function = entry.function.beginning(parameters=(*entry.function.head.parameters, *parameters))
    return replace(entry, function=function, numbers=tuple(numbers))
