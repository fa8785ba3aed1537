"""Redundant casts to 16 bits are removed: a number that is rounded and then stored as 16 bits is rounded by the store.

A cast to a 16-bit float rounds to it and goes on in the type that kernels compute in. Where that is stored, the store
rounds what is rounded already: two conversions for each element, which a GPU makes at an eighth of its usual speed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from tracec.ir.dtype import DType
from tracec.ir.kernel import Call, Expr, Kernel, Let, Loop, Ref, Stmt, Store, expressions, subexpressions, walk
from tracec.plan.loops import rewrite_stmt


def rounded_once(kernel: Kernel) -> Kernel:
    """The kernel with each number that is rounded where it is stored not rounded to the same type before."""
    types = {b.name: b.dtype for b in kernel.buffers if b.dtype.compute is not b.dtype}
    lets = {s.name: s.value for s in walk(kernel.body) if isinstance(s, Let)}
    found: dict[tuple[str, DType], Ref] = {}
    for name, value in lets.items():
        match value:
            case Call("cast", (Call("cast", (Ref(before, wide) as operand,), narrow),), same) if before in lets:
                if same is wide is narrow.compute:
                    found[name, narrow] = operand
    if not types or not found:
        return kernel
    changed = False

    def visit(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
        return tuple(stored(s) for s in body)

    def stored(stmt: Stmt) -> Stmt:
        nonlocal changed
        if isinstance(stmt, Store) and not stmt.add and isinstance(stmt.value, Ref) and stmt.buffer in types:
            operand = found.get((stmt.value.name, types[stmt.buffer]))
            if operand is not None:
                changed = True
                return replace(stmt, value=operand)
        return rewrite_stmt(stmt, lambda _: None, visit) if isinstance(stmt, Loop) else stmt

    body = visit(kernel.body)
    if not changed:
        return kernel
    marked = () if kernel.contraction is None else (kernel.contraction.a, kernel.contraction.b)
    read = _names(*(e for s in walk(body) for e in expressions(s)), *marked)
    return replace(kernel, body=_without(body, {name for name, _ in found if not read[name]}))


def _names(*roots: Expr) -> Counter[str]:
    """How often names are read."""
    return Counter(e.name for root in roots for e in subexpressions(root) if isinstance(e, Ref))


def _without(body: tuple[Stmt, ...], names: set[str]) -> tuple[Stmt, ...]:
    kept = (s for s in body if not (isinstance(s, Let) and s.name in names))
    return tuple(replace(s, body=_without(s.body, names)) if isinstance(s, Loop) else s for s in kept)
