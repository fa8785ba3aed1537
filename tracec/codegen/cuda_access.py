"""How the accesses of a loop body walk memory, and which of them can be packs of neighbouring elements."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_ladder import rung
from tracec.ir.dtype import DType
from tracec.ir.extent import divides, factor_of
from tracec.ir.kernel import (
    Call,
    Expr,
    Let,
    Linear,
    Load,
    Loop,
    Ref,
    Stmt,
    Store,
    Var,
    expressions,
    parts,
    subexpressions,
)  # fmt: skip

#: Bytes of the widest access of a thread.
WIDEST = 16
#: Elements of a pack: more would only take registers.
MOST_ELEMENTS = 8


def peel(body: Sequence[Stmt], kind: str = "parallel") -> tuple[tuple[Var, ...], tuple[Stmt, ...]]:
    """The loops of one kind that are perfectly nested around a body, outermost first, and that body."""
    variables: list[Var] = []
    while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == kind:
        variables.append(body[0].var)
        body = body[0].body
    return tuple(variables), tuple(body)


def extent(variables: Iterable[Var]) -> int:
    """The number of points that loops run over."""
    return math.prod(v.extent for v in variables)


def stride(index: Expr, var: Var) -> int | None:
    """By how much an index moves with a loop variable; None where that is not the same everywhere."""
    if index == var:
        return 1
    if not isinstance(index, Linear):
        return None if _mentions(index, var) else 0
    step = 0
    for term, coefficient in index.terms:
        if term == var:
            step = coefficient
        elif _mentions(term, var):
            return None
    return step


def _mentions(expr: Expr, var: Var) -> bool:
    return any(part == var for part in subexpressions(expr))


def alignment(index: Expr, var: Var) -> int:
    """What divides the index wherever ``var`` is a multiple of it; 0 stands for everything."""
    if not isinstance(index, Linear):
        return 0 if index == var else 1
    divisor = factor_of(index.offset)
    for term, coefficient in index.terms:
        if term != var:
            divisor = math.gcd(divisor, factor_of(coefficient))
    return divisor


def certain_loads(body: Iterable[Stmt]) -> Iterator[Load]:
    """Loads that every iteration does: those that no ``select`` guards. A load's own index counts too."""
    for stmt in body:
        stack = list(expressions(stmt))
        while stack:
            expr = stack.pop()
            if isinstance(expr, Load):
                yield expr
            if isinstance(expr, Call) and expr.op == "select":
                stack.append(expr.args[0])
            else:
                stack.extend(parts(expr))


@dataclass(frozen=True, slots=True)
class Packs:
    """Accesses of a loop body that become packs.

    Attributes:
        width: Elements of a pack; 1 where nothing is packed.
        loads: (buffer, index) of each packed load.
        stores: The same of stores.
    """

    width: int = 1
    loads: tuple[tuple[str, Expr], ...] = ()
    stores: tuple[tuple[str, Expr], ...] = ()


def _steady(index: Expr, names: set[str]) -> bool:
    """Whether none of these names is in an index."""
    return not any(isinstance(part, Ref) and part.name in names for part in subexpressions(index))


def _moving_names(body: Iterable[Stmt], last: Var, written: set[str]) -> set[str]:
    """The names whose values differ among neighbouring iterations, or depend on what is written."""
    moving: set[str] = set()
    for stmt in body:
        if isinstance(stmt, Let) and not (
            _steady(stmt.value, moving)
            and not _mentions(stmt.value, last)
            and not any(isinstance(e, Load) and e.buffer in written for e in subexpressions(stmt.value))
        ):
            moving.add(stmt.name)
    return moving


def find_packs(
    body: Sequence[Stmt], last: Var, buffers: Mapping[str, DType], only: int | None = None, *, ragged: bool = False
) -> Packs:
    """What to access in packs when a thread takes neighbouring iterations of ``last``, the innermost loop.

    Args:
        body: Statements inside of the loop, with no loops among them.
        last: The loop's variable.
        buffers: Buffers in memory.
        only: The width, where it is settled; the accesses that it suits are found. An index may depend on names
            that are the same for neighbouring iterations: the row that is picked in a table.
        ragged: Whether iterations may be left over.
    """
    if any(isinstance(s, Loop) for s in body):
        return Packs()
    loads = {(x.buffer, x.index): None for x in certain_loads(body) if x.buffer in buffers}
    written = {s.buffer for s in body if isinstance(s, Store)}
    added = {s.buffer for s in body if isinstance(s, Store) and s.add}
    stores = {(s.buffer, s.index): None for s in body if isinstance(s, Store) and s.buffer in buffers}
    # A buffer that is both read and written is read late, element by element, unless at the same places.
    named = _moving_names(body, last, written)
    walks = [
        (access, is_store)
        for group, is_store in ((loads, False), (stores, True))
        for access in group
        if stride(access[1], last) == 1 and access[0] not in added and _steady(access[1], named)
        if is_store or access[0] not in written or access in stores
    ]
    if only == 1 or (only is None and not walks):
        return Packs()
    widest = min(WIDEST, rung().pack)
    width = only or min(widest // max(buffers[buffer].itemsize for (buffer, _), _ in walks), MOST_ELEMENTS)
    while width > 1:
        fit = [
            (a, s) for a, s in walks if (ragged or divides(width, last.extent)) and alignment(a[1], last) % width == 0
        ]
        if fit or only:
            return Packs(width, tuple(a for a, s in fit if not s), tuple(a for a, s in fit if s))
        width //= 2
    return Packs()


def streams_of_rows(widths: Mapping[str, int], packs: Mapping[int, Packs], rows: Sequence[Var]) -> int:
    """Bytes of an element of all that is read along a row, where only later loops read some of it; 0 otherwise.

    Args:
        widths: Bytes of an element of each buffer.
        packs: By a loop's place among a row's statements, what it reads in packs.
        rows: The loops over rows: what does not move with them is the same for all.
    """
    names = {v.name for v in rows}
    found: list[set[str]] = []
    for place in sorted(packs):
        found.append({b for b, i in packs[place].loads if any(_is_one_of(x, names) for x in subexpressions(i))})
    every = set[str]().union(*found)
    return sum(widths[b] for b in every) if found and every != found[0] else 0


def _is_one_of(expr: Expr, names: set[str]) -> bool:
    return isinstance(expr, Var) and expr.name in names
