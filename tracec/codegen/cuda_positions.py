"""A scatter taken apart: which element each position and column goes to, and what is there before."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import peel
from tracec.codegen.cuda_chunk import needed_lets
from tracec.codegen.cuda_entry import ceil_div
from tracec.errors import CompileError
from tracec.ir import index as ix
from tracec.ir.extent import divides, factor_of, is_varying, like, plain
from tracec.ir.kernel import Const, Expr, Kernel, Let, Linear, Stmt, Store, Var, subexpressions


@dataclass(frozen=True, slots=True)
class Target:
    """A scatter taken apart.

    Attributes:
        columns: The loops that every position has.
        positions: The loops over positions.
        lets: Statements before the store.
        store: The store.
        key: Of its index, what depends on the position, by units of ``unit``.
        key_lets: The statements that takes.
        unit: Elements that keys next to each other are apart.
        place: Of its index, what depends on the column: how far each column's steps are apart.
        offset: Of its index, what is always the same.
        keys: How many keys there can be.
        covers: Whether keys and columns meet each element once.
    """

    columns: tuple[Var, ...]
    positions: tuple[Var, ...]
    lets: tuple[Let, ...]
    store: Store
    key: Expr
    key_lets: tuple[Let, ...]
    unit: int
    place: tuple[tuple[Expr, int], ...]
    offset: int
    keys: int
    covers: bool

    def at(self, row: Expr) -> Expr:
        """The index for a key."""
        where: Expr = Const(self.offset)
        for term, step in ((row, self.unit), *self.place):
            where = ix.add(where, ix.mul(term, step))
        return where


@dataclass(frozen=True, slots=True)
class Start:
    """What is there before anything is written: ``value`` at the element ``var``, after some names."""

    var: Var
    lets: tuple[Let, ...]
    value: Expr


def find_target(kernel: Kernel, body: tuple[Stmt, ...]) -> Target | None:
    """The parts of a scatter; None where positions depend on the column in other ways than by their place in a row."""
    columns, inner = peel(body)
    positions, statements = peel(inner, "serial")
    if not positions or not statements or not isinstance(statements[-1], Store):
        return None
    store, lets = statements[-1], [s for s in statements[:-1] if isinstance(s, Let)]
    if len(lets) != len(statements) - 1:
        return None
    index = store.index if isinstance(store.index, Linear) else Linear(((store.index, 1),), 0)
    place = tuple((t, c) for t, c in index.terms if t in columns)
    key = tuple((t, c) for t, c in index.terms if t not in columns and not isinstance(t, Const))
    needed = needed_lets([t for t, _ in key], lets)
    used = [e for s in needed for e in subexpressions(s.value)]
    used += [e for t, _ in key for e in subexpressions(t)]
    if not key or any(e in columns for e in used):
        return None
    unit = _common(c for _, c in key)
    by_unit = Linear(tuple((t, c // unit) for t, c in key), 0)
    size = next(b.size for b in kernel.buffers if b.name == store.buffer)
    found = _tiled(columns, place, index.offset, unit, size)
    keys, covers = ceil_div(size, unit) if found is None else found, found is not None
    return Target(
        columns, positions, tuple(lets), store, by_unit, needed, unit, place, index.offset, keys, covers
    )  # fmt: skip


def _tiled(columns: Sequence[Var], place: Sequence[tuple[Expr, int]], offset: int, unit: int, size: int) -> int | None:
    """How many keys there are, where these and columns meet each element once, for all sizes; None for others."""
    if not like(offset, 0) or {t for t, _ in place} != set(columns):
        return None
    moves: list[tuple[int, int | None]] = [(c, t.extent) for t, c in place if isinstance(t, Var)]
    moves = sorted([*moves, (unit, None)], key=lambda move: plain(move[0]))
    reach, keys = 1, 0
    for (step, count), end in zip(moves, [*(step for step, _ in moves[1:]), size], strict=True):
        if not like(step, reach):
            return None
        if count is None:
            if not divides(step, end):
                return None
            count = keys = end // step
        reach = step * count
    return keys if like(reach, size) else None


def _common(factors: Iterable[int]) -> int:
    """What divides some numbers, for all sizes."""
    numbers = tuple(factors)
    return numbers[0] if len(numbers) == 1 else math.gcd(*map(factor_of, numbers))


def find_start(start: tuple[Stmt, ...], buffer: str) -> Start | None:
    """What is there before, as a function of the element; None where it is more than that."""
    variables, inner = peel(start)
    if len(variables) != 1 or not isinstance(inner[-1], Store) or inner[-1].add or inner[-1].buffer != buffer:
        return None
    lets = tuple(s for s in inner[:-1] if isinstance(s, Let))
    if len(lets) != len(inner) - 1 or inner[-1].index not in (variables[0], Const(0)):
        return None
    return Start(variables[0], lets, inner[-1].value)


def key_bits(keys: int) -> int:
    """How many bits tell so many keys apart; whole digits, where it is for other sizes as well."""
    bits: int = max((plain(keys) - 1).bit_length(), 1)
    if is_varying(keys):
        bits = ceil_div(bits, 8) * 8
        if keys > 1 << bits:
            raise CompileError(f"{keys} places have more than {bits} bits")
    return bits
