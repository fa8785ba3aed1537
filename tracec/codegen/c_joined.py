"""Loops over what is joined of many parts: a loop for each part, in which no element is asked what part it is of.

A concatenation's element is a selection among all of its parts. Lanes compute all of them and mask all but one, which
of two or three parts is little; of a hundred it is a hundred times the work, in loops that compilers take minutes for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tracec.codegen.c_loops import chain, names_in
from tracec.codegen.c_unroll import Values, put_in
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Call, Const, Expr, Kernel, Let, Loop, Ref, Stmt, Store, Var, expressions, subexpressions

#: Parts of a loop, at least and at most.
LEAST, MOST = 5, 2048


def part_joined(kernel: Kernel) -> Kernel:
    """The kernel, a nest of parallel loops, with a loop in its parts; the same where none has as many."""
    if kernel.shape != "map" or len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
        return kernel
    loops, body = chain(kernel.body[0])
    if any(s.kind != "parallel" for s in loops) or not all(isinstance(s, (Let, Store)) for s in body):
        return kernel
    every = [_starts(s.var, body) for s in loops]
    n = next((n for n, starts in enumerate(every) if LEAST <= len(starts) <= MOST), None)
    if n is None:
        return kernel
    loop, starts = loops[n], every[n]
    found: list[Stmt] = []
    for k, (start, stop) in enumerate(zip(starts, (*starts[1:], loop.var.extent), strict=True)):
        var = Var(loop.var.name, stop - start)
        at: Expr = Const(start) if var.extent == 1 else ix.add(var, start)
        inner = _around(loops[n + 1 :], _of_part(body, {loop.var.name: at}, f"_{k}"))
        found += inner if var.extent == 1 else [Loop(var, inner, "parallel")]
    return replace(kernel, body=_around(loops[:n], tuple(found)), shape="row")  # whose loops are written as they are


def _around(loops: Sequence[Loop], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for loop in reversed(loops):
        body = (replace(loop, body=body),)
    return body


def _starts(var: Var, body: Iterable[Stmt]) -> list[int]:
    """Where the parts of a loop begin, within each of which all tests of its position alone come out alike."""
    if is_varying(var.extent):
        return [0]
    starts = {0}
    every = (e for s in body for root in expressions(s) for e in subexpressions(root))
    for e in every:
        match e:
            case Call("lt" | "ge", (position, Const(int(bound)))) if position.dtype is dt.int64:
                terms, offset = ix.terms_of(position)
                if terms == {var: 1} and 0 < bound - offset < var.extent:
                    starts.add(bound - offset)
    return sorted(starts)


def _of_part(body: Sequence[Stmt], values: Values, suffix: str) -> tuple[Stmt, ...]:
    """What is stored where a loop variable is in one part, and the scalars that it takes, under names of their own."""
    given = {s.name: s.value for s in body if isinstance(s, Let)}
    own = {**values, **{name: Ref(name + suffix, value.dtype) for name, value in given.items()}}
    back = {name + suffix: name for name in given}
    taken: dict[str, Let] = {}
    stores = [replace(s, index=put_in(s.index, own), value=put_in(s.value, own)) for s in body if isinstance(s, Store)]
    asked: list[Stmt] = list(stores)
    while asked:
        for name in names_in(asked.pop()):
            known = back.get(name)
            if known is not None and known not in taken:
                taken[known] = Let(name, put_in(given[known], own))
                asked.append(taken[known])
    return tuple(taken[s.name] if isinstance(s, Let) else stores.pop(0) for s in body if not _is_left(s, taken))


def _is_left(s: Stmt, taken: dict[str, Let]) -> bool:
    return isinstance(s, Let) and s.name not in taken
