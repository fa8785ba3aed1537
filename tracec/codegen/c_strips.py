"""Innermost loops cut into strips of a few cache lines, for what is better done to a strip at once.

An ordinary store first reads the line that it is about to overwrite: a result larger than the cache is
computed into lines of its own, which then go to memory as they are. Random words come four at a time from
one counter: a strip of them is drawn before the loop over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tracec.ir.kernel import (
    Buffer,
    Call,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Ref,
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
#: Words of one counter.
_WORDS = 4


@dataclass(frozen=True, slots=True)
class Strips:
    """What is done to whole strips.

    Attributes:
        stores: Stores that go past the cache, with their buffers.
        words: Calls of ``philox`` for neighbouring elements.
    """

    stores: dict[Store, Buffer]
    words: tuple[Call, ...]


def plan_strips(kernel: Kernel, stmt: Loop, *, stream: bool) -> Strips | None:
    """What to do to strips of an innermost loop; None where there is nothing.

    Args:
        kernel: The kernel.
        stmt: The loop.
        stream: Whether results may be written past the cache.
    """
    strips = Strips(streamed_stores(kernel, stmt) if stream else {}, drawn_words(stmt))
    return strips if strips.stores or strips.words else None


def drawn_words(stmt: Loop) -> tuple[Call, ...]:
    """The calls of ``philox`` in a loop whose counters go on from strip to strip."""
    if stmt.kind == "serial" or stmt.var.extent < STRIP:
        return ()
    local = {stmt.var.name, *(s.name for s in stmt.body if isinstance(s, Let))}
    found: dict[Call, None] = {}
    for e in (e for s in stmt.body for root in expressions(s) for e in subexpressions(root)):
        if isinstance(e, Call) and e.op == "philox" and _starts_at_a_line(e.args[2], stmt.var, _WORDS):
            keys = {x.name for a in e.args[:2] for x in subexpressions(a) if isinstance(x, (Var, Ref))}
            if local.isdisjoint(keys):
                found[e] = None
    return tuple(found)


def replaced(e: Expr, new: Mapping[Call, Expr]) -> Expr:
    """The expression with some calls replaced."""
    if not new or not isinstance(e, Call):
        return e
    return new[e] if e in new else Call(e.op, tuple(replaced(a, new) for a in e.args), e.dtype)


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
