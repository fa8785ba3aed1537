"""Kernels that reduce, scan or scatter across rows: tiles of neighbouring columns take each step together.

A column kernel's inner loops walk over strided elements, while its innermost parallel loop walks over
contiguous ones. Here that loop goes inside: for a tile of columns every step becomes a vectorised loop over
the tile, and what was one column's scalar becomes an array with an element for each column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tracec.codegen.c_cost import Sharing, cost_of, share
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import MIN_SIMD, LoopWriter, chain, names_in
from tracec.codegen.tree import Line, Tree, loop
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import (
    Acc,
    Call,
    Div,
    Expr,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip
from tracec.ir.types import numel

#: Columns in a tile at most, and the least that is worth a tile.
MAX_TILE = 1024
MIN_TILE = 16
#: Bytes that a tile's arrays may take: they stay in the first-level cache, and kept rows on the stack.
MAX_ARRAYS = 24 << 10
MAX_SCRATCH = 256 << 10
#: Rows up to this long are computed side by side even though their elements are contiguous.
SHORT_ROW = 32
#: Tiles that there should be at least, for the threads to share.
WANTED_PIECES = 16


@dataclass(frozen=True, slots=True)
class Tiling:
    """How a nest is tiled.

    Attributes:
        columns: The loop that is cut into tiles.
        size: Columns in a tile.
        arrays: Scalars that become arrays, with their dtypes.
        sharing: Loops to share among threads; the loop over tiles counts as the last.
    """

    columns: Var
    size: int
    arrays: tuple[tuple[str, DType], ...]
    sharing: Sharing


def plan_tiles(stmt: Loop) -> Tiling | None:
    """Decide how to tile a nest of parallel loops; None where plain loops are better."""
    loops, body = chain(stmt)
    columns = loops[-1].var
    if (
        plain(columns.extent) < MIN_SIMD
        or not any(isinstance(s, Loop) for s in body)
        or not _goes_across(columns, body)
    ):
        return None
    arrays = _crossing(columns, body)
    each = sum(d.itemsize for _, d in arrays)
    kept = sum(s.size * s.dtype.itemsize for s in walk(body) if isinstance(s, Scratch))
    outer = numel(plain(s.var.extent) for s in loops[:-1])
    size = min(MAX_TILE, MAX_ARRAYS // max(each, 1), MAX_SCRATCH // max(kept, 1))
    if outer < WANTED_PIECES:
        size = min(size, max(-(-plain(columns.extent) * outer // WANTED_PIECES), 64))
    size = size // MIN_TILE * MIN_TILE
    size = size if is_varying(columns.extent) else min(size, columns.extent)
    if size < MIN_SIMD:
        return None
    extents = (*(s.var.extent for s in loops[:-1]), -(-columns.extent // size))
    return Tiling(columns, size, arrays, share(extents, cost_of(stmt), inner_shared=False))


def _goes_across(columns: Var, body: tuple[Stmt, ...]) -> bool:
    """Whether more of the memory that the inner loops touch is contiguous along the columns than along them."""
    loops = [s for s in walk(body) if isinstance(s, Loop)]
    inner = {s.var.name for s in loops}
    good = bad = 0
    for s in walk(tuple(s for s in body if isinstance(s, Loop))):
        indices = [e.index for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)]
        if isinstance(s, Store):
            indices.append(s.index)
        for index in indices:
            unit = _unit_var(index)
            good += unit == columns.name
            bad += unit in inner
    rows = numel(plain(s.var.extent) for s in loops)
    return good > bad or (rows <= SHORT_ROW and rows <= plain(columns.extent))


def _unit_var(index: Expr) -> str:
    """The variable along which an index moves by one element."""
    match index:
        case Var(name, _):
            return name
        case Linear(terms, _):
            return next((t.name for t, c in terms if c == 1 and isinstance(t, Var)), "")
        case _:
            return ""


def _segments(body: Iterable[Stmt]) -> list[list[Stmt]]:
    """Runs of statements between loops; a loop is a run of its own."""
    runs: list[list[Stmt]] = [[]]
    for s in body:
        if isinstance(s, Loop):
            runs += [[s], []]
        else:
            runs[-1].append(s)
    return [r for r in runs if r]


def _crossing(columns: Var, body: tuple[Stmt, ...]) -> tuple[tuple[str, DType], ...]:
    """Scalars of a column that are used in another run of statements than the one that defines them."""
    home: dict[str, int] = {}
    dtypes: dict[str, DType] = {}
    varying = {columns.name}
    crossing: dict[str, DType] = {}
    number = 0

    def visit(stmts: tuple[Stmt, ...]) -> None:
        nonlocal number
        for run in _segments(stmts):
            number += 1
            for s in run:
                if isinstance(s, Loop):
                    visit(s.body)
                    continue
                used = {*names_in(s), *((s.name,) if isinstance(s, Update) else ())}
                crossing.update({n: dtypes[n] for n in used if n in home and home[n] != number})
                if isinstance(s, Acc) or (isinstance(s, Let) and not varying.isdisjoint(names_in(s))):
                    varying.add(s.name)
                    home[s.name] = number
                    dtypes[s.name] = s.dtype if isinstance(s, Acc) else s.value.dtype
                elif isinstance(s, Scratch):
                    varying.add(s.name)

    visit(body)
    return tuple(crossing.items())


class TileWriter(LoopWriter):
    """Writes a nest with its columns in tiles."""

    tiling: Tiling

    def nest(self, stmt: Loop) -> Tree:
        tiling = plan_tiles(stmt)
        if tiling is None:
            return super().nest(stmt)
        self.tiling = tiling
        column = self.text.name(tiling.columns.name)
        self.start, self.stop = f"{column}_start", f"{column}_stop"
        self.text.names["lane"] = f"({column} - {self.start})"
        self.varying = {tiling.columns.name, "lane", *(n for n, _ in tiling.arrays)}
        for name, _ in tiling.arrays:
            self.text.names[name] = f"{C.identifier(name)}[{column} - {self.start}]"
        loops, body = chain(stmt)
        extent, size = tiling.columns.extent, tiling.size
        inside: tuple[Tree, ...] = (
            Line(f"long {self.stop} = {extent} - {self.start} < {size} ? {extent} : {self.start} + {size};"),
            *(Line(f"{C.types[d]} {C.identifier(n)}[{size}] __attribute__((aligned(64)));") for n, d in tiling.arrays),
            *self._steps(body),
        )
        tree = loop(C.index, self.start, extent, inside, step=size, pragmas=self._pragma(len(loops) - 1))
        for level in reversed(range(len(loops) - 1)):
            var = loops[level].var
            tree = loop(C.index, self.text.name(var.name), var.extent, (tree,), pragmas=self._pragma(level))
        for name, _ in tiling.arrays:
            del self.text.names[name]
        return tree

    def _pragma(self, level: int) -> tuple[str, ...]:
        sharing = self.tiling.sharing
        if not sharing.collapse or self.serial or level != sharing.skip:
            return ()
        return (f"omp parallel for{sharing.words}",)

    def _steps(self, body: Iterable[Stmt]) -> list[Tree]:
        """Statements in order, runs of them as loops over the tile."""
        done: list[Tree] = []
        for run in _segments(body):
            lanes: list[Tree] = []
            for s in run:
                s = self._spread(s)
                if isinstance(s, Loop):
                    name = self.text.name(s.var.name)
                    done.append(loop(C.index, name, s.var.extent, tuple(self._steps(s.body))))
                elif isinstance(s, Scratch):
                    done.append(self.statement(Scratch(s.name, s.dtype, s.size * self.tiling.size)))
                elif isinstance(s, Let) and self.varying.isdisjoint(names_in(s)):
                    done.append(self.statement(s))
                else:
                    lanes.append(self._lane_statement(s))
            if lanes:
                column = self.text.name(self.tiling.columns.name)
                done.append(loop(C.index, column, self.stop, tuple(lanes), start=self.start, pragmas=("omp simd",)))
        return done

    def _lane_statement(self, s: Stmt) -> Tree:
        """A column's statement; what is an array is not declared again."""
        if isinstance(s, (Let, Acc)):
            self.varying.add(s.name)
        if isinstance(s, (Let, Acc)) and s.name in self.text.names:
            return Line(f"{self.text.names[s.name]} = {self.initial(s)};")
        return self.statement(s)

    def _spread(self, s: Stmt) -> Stmt:
        """Kept rows interleaved: an element of the row for each column of the tile."""
        kept = {b for b in self.dtypes if b not in {x.name for x in self.kernel.buffers}}
        if not kept or isinstance(s, (Loop, Acc, Scratch)):
            return s
        lane = Ref("lane", dt.int64)

        def at(index: Expr) -> Expr:
            return ix.add(ix.mul(index, self.tiling.size), lane)

        def change(e: Expr) -> Expr:
            return rebuilt(e, lambda x: Load(x.buffer, at(x.index), x.dtype) if x.buffer in kept else x)

        match s:
            case Let(name, value):
                return Let(name, change(value))
            case Update(name, value):
                return Update(name, change(value))
            case Store(buffer, index, value, add):
                return Store(buffer, at(index) if buffer in kept else change(index), change(value), add)
        return s


def rebuilt(e: Expr, change: Callable[[Load], Expr]) -> Expr:
    """The expression with its loads replaced."""
    match e:
        case Load():
            return change(e)
        case Call(op, args, dtype):
            return Call(op, tuple(rebuilt(a, change) for a in args), dtype)
        case Linear(terms, offset):
            return Linear(tuple((rebuilt(t, change), c) for t, c in terms), offset)
        case Div(value, by):
            return Div(rebuilt(value, change), by)
        case Mod(value, by):
            return Mod(rebuilt(value, change), by)
        case _:
            return e
