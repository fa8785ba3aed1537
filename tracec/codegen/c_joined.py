"""Loops over what is joined of many parts: a loop for each part, in which no element is asked what part it is of.

A concatenation's element is a selection among all of its parts. Lanes compute all of them and mask all but one, which
of two or three parts is little; of a hundred it is a hundred times the work, in loops that compilers take minutes for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tracec.codegen.c_loops import chain
from tracec.codegen.joined import LEAST, MOST, Joined, starts_of
from tracec.ir import index as ix
from tracec.ir.kernel import Const, Expr, Kernel, Let, Loop, Stmt, Store, Var


def part_joined(kernel: Kernel) -> Kernel:
    """The kernel, a nest of parallel loops, with a loop in its parts; the same where none has as many."""
    if kernel.shape != "map" or len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
        return kernel
    loops, inner = chain(kernel.body[0])
    body = [s for s in inner if isinstance(s, (Let, Store))]
    if any(s.kind != "parallel" for s in loops) or len(body) < len(inner):
        return kernel
    every = [starts_of(s.var, body) for s in loops]
    n = next((n for n, starts in enumerate(every) if LEAST <= len(starts) <= MOST), None)
    if n is None:
        return kernel
    loop, starts = loops[n], every[n]
    joined = Joined(body)
    found: list[Stmt] = []
    for k, (start, stop) in enumerate(zip(starts, (*starts[1:], loop.var.extent), strict=True)):
        var = Var(loop.var.name, stop - start)
        at: Expr = Const(start) if var.extent == 1 else ix.add(var, start)
        inner = _around(loops[n + 1 :], joined.of_part({loop.var.name: at}, f"_{k}"))
        found += inner if var.extent == 1 else [Loop(var, inner, "parallel")]
    return replace(kernel, body=_around(loops[:n], tuple(found)), shape="row")  # whose loops are written as they are


def _around(loops: Sequence[Loop], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for loop in reversed(loops):
        body = (replace(loop, body=body),)
    return body
