"""Rows with nothing kept but what is read of them: what one loop leaves for another is computed again.

As they are in memory, 16-bit floats take half of the room that what is computed of them does, and a block that has
room for its row twice over leaves the other half to another block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracec.ir.kernel import (
    Call,
    Expr,
    Kernel,
    Let,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip

#: What may be computed again → about how many instructions it takes; a loop over a row spends some 20 on an element.
COST = {
    **dict.fromkeys(("add", "sub", "mul", "neg", "abs", "cast", "maximum", "minimum", "rounded_mul", "select"), 1),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "bitwise_and", "bitwise_or", "logical_not"), 1),
    "short_exp": 3, "exp": 6,
}  # fmt: skip
#: So many of them for each element, at most; and so few that nothing is better kept.
MOST_COST, LEAST_COST = 12, 2


def computed_anew(kernel: Kernel, most: int = MOST_COST) -> Kernel | None:
    """The kernel of rows without its scratch; None where it has none, or where computing that again costs too much.

    Each loop that reads scratch has before it the statements that the scratch was computed by.

    Args:
        kernel: A kernel of rows.
        most: Instructions for each element of an array, at most.
    """
    body = _rows(kernel.body)
    loops = [s for s in body if isinstance(s, Loop)]
    nests = {tuple(s.var for s in walk((loop,)) if isinstance(s, Loop)) for loop in loops}
    if len(nests) > 1 or not any(isinstance(s, Scratch) for s in body):
        return None
    anew = _Anew(kernel, loops, most)
    found: list[Stmt] = []
    for stmt in body:
        if isinstance(stmt, Loop):
            loop = anew.loop(stmt)
            if loop is None:
                return None
            found.append(loop)
        elif not isinstance(stmt, Scratch):
            found.append(stmt)
    return replace(kernel, body=_around(kernel.body, tuple(found)))


def _rows(body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """The statements of one row."""
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "parallel":
        body = body[0].body
    return body


def _around(body: tuple[Stmt, ...], inner: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """Other statements within the same loops over rows."""
    if len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "parallel":
        return (replace(body[0], body=_around(body[0].body, inner)),)
    return inner


class _Anew:
    """Takes scratch out of loops, in the order in which they run."""

    def __init__(self, kernel: Kernel, loops: Sequence[Loop], most: int) -> None:
        self.most = most
        self.scratch = {s.name: s.dtype.itemsize for s in walk(kernel.body) if isinstance(s, Scratch)}
        #: What is read and never written → bytes of an element.
        self.steady = {b.name: b.dtype.itemsize for b in kernel.buffers if b.role == "in"}
        read = Counter(x for loop in loops for x in {*_loads(walk((loop,)))})
        #: Loads that several loops do as it is.
        self.several = {x for x, loops in read.items() if loops > 1}
        #: Scratch → what it is computed by, and its value.
        self.made: dict[str, tuple[tuple[Let, ...], Expr]] = {}

    def loop(self, loop: Loop) -> Loop | None:
        """A loop without scratch, what it stored there being noted; None where that cannot be computed again."""
        if len(loop.body) == 1 and isinstance(loop.body[0], Loop):
            inner = self.loop(loop.body[0])
            return None if inner is None else replace(loop, body=(inner,))
        names = [n for n in dict.fromkeys(x.buffer for x in _loads(loop.body)) if n in self.scratch]
        if any(n not in self.made for n in names) or any(isinstance(s, (Loop, Scratch)) for s in loop.body):
            return None
        own = [_with(s, {name: value for name, (_, value) in self.made.items()}) for s in loop.body]
        known = {s.name for s in own if isinstance(s, Let)}
        before = {let.name: let for n in names for let in self.made[n][0] if let.name not in known}
        body = (*before.values(), *own)
        stores = [s for s in body if isinstance(s, Store) and s.buffer in self.scratch]
        if not all(self._note(s, body) for s in stores):
            return None
        return replace(loop, body=tuple(s for s in body if s not in stores))

    def _note(self, store: Store, body: Sequence[Stmt]) -> bool:
        """Notes what an array of scratch is computed by; False where it has to be kept."""
        needed = _needed(store.value, tuple(s for s in body if isinstance(s, Let)))
        values = *(let.value for let in needed), store.value
        calls = [p for value in values for p in subexpressions(value) if isinstance(p, Call)]
        if any(c.op not in COST for c in calls) or sum(COST[c.op] * c.dtype.itemsize // 4 for c in calls) > self.most:
            return False
        loads = {*_loads((*needed, store))}
        if store.add or store.buffer in self.made or any(x.buffer not in self.steady for x in loads):
            return False
        self.made[store.buffer] = needed, store.value
        # What would have to be held for it is no more than it.
        return sum(self.steady[x.buffer] for x in loads - self.several) <= self.scratch[store.buffer]


def _loads(body: Iterable[Stmt]) -> Iterator[Load]:
    """What statements read."""
    yield from (x for s in body for e in expressions(s) for x in subexpressions(e) if isinstance(x, Load))


def _needed(value: Expr, lets: tuple[Let, ...]) -> tuple[Let, ...]:
    """The names that a value takes of those of its loop, in order."""
    names, found = {e.name for e in subexpressions(value) if isinstance(e, Ref)}, list[Let]()
    for let in reversed(lets):
        if let.name in names:
            found.append(let)
            names |= {e.name for e in subexpressions(let.value) if isinstance(e, Ref)}
    return tuple(reversed(found))


def _with(stmt: Stmt, values: Mapping[str, Expr]) -> Stmt:
    """A statement with values in place of scratch."""
    match stmt:
        case Let(name, value):
            return Let(name, _value(value, values))
        case Update(name, value):
            return Update(name, _value(value, values))
        case Store(_, _, value, _):
            return replace(stmt, value=_value(value, values))
    return stmt


def _value(expr: Expr, values: Mapping[str, Expr]) -> Expr:
    match expr:
        case Load(buffer, _, _) if buffer in values:
            return values[buffer]
        case Call(_, args, _):
            return replace(expr, args=tuple(_value(a, values) for a in args))
    return expr
