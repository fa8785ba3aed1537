"""Large results written past the cache.

An ordinary store first reads the line that it is about to overwrite. A loop that fills a result larger than
the cache is cut into strips: a strip is computed into a few lines of their own, which then go to memory as
they are.
"""

from __future__ import annotations

from tracec.ir.kernel import (
    Buffer,
    Expr,
    Kernel,
    Linear,
    Load,
    Loop,
    Store,
    Var,
    expressions,
    subexpressions,
    walk,
)

#: Results from this size on do not stay in the cache, so writing past it costs the next reader nothing.
MIN_BYTES = 32 << 20
#: Elements of a strip. Short, so that its lines are written while they are in the first-level cache.
STRIP = 64
_LINE = 64


def streamed_stores(kernel: Kernel, stmt: Loop) -> dict[Store, Buffer]:
    """The stores of an innermost loop that can write past the cache; empty where that does not pay.

    Strips must begin at a cache line: the position moves with the loop, one element at a time, from a multiple
    of a line.
    """
    if stmt.kind == "serial" or stmt.var.extent < 4 * STRIP:
        return {}
    read = {
        e.buffer for s in walk(kernel.body) for r in expressions(s) for e in subexpressions(r) if isinstance(e, Load)
    }
    stored = [s.buffer for s in walk(kernel.body) if isinstance(s, Store)]
    large = {
        b.name: b
        for b in kernel.buffers
        if b.role == "out" and b.nbytes >= MIN_BYTES and b.name not in read and stored.count(b.name) == 1
    }
    found: dict[Store, Buffer] = {}
    for s in stmt.body:
        if isinstance(s, Store) and s.buffer in large and not s.add:
            if _starts_at_a_line(s.index, stmt.var, _LINE // large[s.buffer].dtype.itemsize):
                found[s] = large[s.buffer]
    return found


def _starts_at_a_line(index: Expr, var: Var, line: int) -> bool:
    if index == var:
        return True
    if not isinstance(index, Linear) or dict(index.terms).get(var) != 1 or index.offset % line:
        return False
    return all(t == var or (c % line == 0 and isinstance(t, Var)) for t, c in index.terms)


def at_strip(index: Expr, var: Var, start: Var) -> Expr:
    """The position with the loop variable at the beginning of its strip."""
    if index == var:
        return start
    assert isinstance(index, Linear)
    return Linear(tuple((start if t == var else t, c) for t, c in index.terms), index.offset)
