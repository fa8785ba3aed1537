"""Innermost loops cut into strips of a few cache lines, for what is better done to a strip at once.

An ordinary store first reads the line that it is about to overwrite: a result too large for the cache is
computed into lines of its own, which then go to memory as they are. Strips begin at the result's cache lines
even where its rows do not: only the two ends of a row are then stored in the ordinary way. Random words come
four at a time from one counter: a strip of them is drawn before the loop over it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from tracec.ir import index as ix
from tracec.ir.extent import plain
from tracec.ir.kernel import (
    Buffer,
    Call,
    Const,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Ref,
    Store,
    Var,
    expressions,
    subexpressions,
    walk,
)

#: Elements of a strip. Short, so that its lines are written while they are in the first-level cache.
STRIP = 64
#: The same where rows do not begin at cache lines: fewer strips make up for the ends.
UNEVEN_STRIP = 128
_LINE = 64
#: Elements from which on a loop is worth the trouble.
MIN_STREAMED = 4 * STRIP
#: Words of one counter.
_WORDS = 4


@dataclass(frozen=True, slots=True)
class Strips:
    """What is done to whole strips.

    Attributes:
        stores: Stores that go past the cache, with their buffers.
        words: Calls of ``philox`` for neighbouring elements.
        lead: How many elements of the first line lie before the loop's first one: the first strip begins so
            far before the loop.
    """

    stores: dict[Store, Buffer]
    words: tuple[Call, ...]
    lead: Expr

    @property
    def size(self) -> int:
        """Elements of a strip."""
        return STRIP if self.lead == Const(0) else UNEVEN_STRIP


def plan_strips(kernel: Kernel, stmt: Loop, *, past_cache: Collection[str]) -> Strips | None:
    """What to do to strips of an innermost loop; None where there is nothing.

    Args:
        kernel: The kernel.
        stmt: The loop.
        past_cache: Buffers that are better written past the cache.
    """
    words = drawn_words(stmt)
    stores = streamed_stores(kernel, stmt, past_cache)
    even = {s: b for s, b in stores.items() if _starts_at_a_line(s.index, stmt.var, _elements_of_a_line(b))}
    if even or words:
        return Strips(even, words, Const(0))
    if not stores:
        return None
    first, buffer = next(iter(stores.items()))
    # From the index and not from the address, which must not decide what is computed in which lane.
    lead = ix.mod(ix.sub(first.index, stmt.var), _elements_of_a_line(buffer))
    alike = {s: b for s, b in stores.items() if (s.index, b.dtype.itemsize) == (first.index, buffer.dtype.itemsize)}
    return Strips(alike, (), lead)


def drawn_words(stmt: Loop) -> tuple[Call, ...]:
    """The calls of ``philox`` in a loop whose counters go on from strip to strip."""
    if stmt.kind == "serial" or plain(stmt.var.extent) < STRIP:
        return ()
    local = {stmt.var.name, *(s.name for s in stmt.body if isinstance(s, Let))}
    found: dict[Call, None] = {}

    def is_steady(e: Expr) -> bool:
        return local.isdisjoint(x.name for x in subexpressions(e) if isinstance(x, (Var, Ref)))

    for e in (e for s in stmt.body for root in expressions(s) for e in subexpressions(root)):
        if isinstance(e, Call) and e.op == "philox" and all(map(is_steady, e.args[:2])):
            if _starts_at_a_line(e.args[2], stmt.var, _WORDS, is_steady):
                found[e] = None
    return tuple(found)


def replaced(e: Expr, new: Mapping[Call, Expr]) -> Expr:
    """The expression with some calls replaced."""
    if not new or not isinstance(e, Call):
        return e
    return new[e] if e in new else Call(e.op, tuple(replaced(a, new) for a in e.args), e.dtype)


def streamed_stores(kernel: Kernel, stmt: Loop, past_cache: Collection[str]) -> dict[Store, Buffer]:
    """The stores of an innermost loop that can write past the cache: their position moves with it, by one element."""
    if not past_cache or stmt.kind == "serial" or plain(stmt.var.extent) < MIN_STREAMED:
        return {}
    read = {
        e.buffer for s in walk(kernel.body) for r in expressions(s) for e in subexpressions(r) if isinstance(e, Load)
    }
    stored = [s.buffer for s in walk(kernel.body) if isinstance(s, Store)]
    large = {
        b.name: b
        for b in kernel.buffers
        if b.role == "out" and b.name in past_cache and b.name not in read and stored.count(b.name) == 1
    }
    return {
        s: large[s.buffer]
        for s in stmt.body
        if isinstance(s, Store) and s.buffer in large and not s.add and _moves_by_one(s.index, stmt.var)
    }


def _elements_of_a_line(buffer: Buffer) -> int:
    return _LINE // buffer.dtype.itemsize


def _moves_by_one(index: Expr, var: Var) -> bool:
    """Whether a position is the loop variable and what the loops around it tell."""
    if index == var:
        return True
    if not isinstance(index, Linear) or dict(index.terms).get(var) != 1 or index.offset < 0:
        return False
    others = [(t, c) for t, c in index.terms if t != var]
    inner = [e for t, _ in others for e in subexpressions(t)]
    return all(c > 0 for _, c in others) and all(
        isinstance(e, (Var, Div, Mod, Linear, Const)) and e != var for e in inner
    )


def _starts_at_a_line(index: Expr, var: Var, line: int, steady: Callable[[Expr], bool] | None = None) -> bool:
    """Whether a position is a multiple of a line's elements where the loop variable is one.

    Args:
        index: The position.
        var: The loop variable.
        line: How many elements a line has.
        steady: Says which terms, besides variables of loops, stay as they are within the loop.
    """
    if index == var:
        return True
    if not isinstance(index, Linear) or dict(index.terms).get(var) != 1 or index.offset % line:
        return False
    return all(
        t == var or (c % line == 0 and (isinstance(t, Var) or (steady is not None and steady(t))))
        for t, c in index.terms
    )


def at_strip(index: Expr, var: Var, start: Var) -> Expr:
    """The position with the loop variable at the beginning of its strip."""
    if index == var:
        return start
    assert isinstance(index, Linear)
    return Linear(tuple((start if t == var else t, c) for t, c in index.terms), index.offset)
