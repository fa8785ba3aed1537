"""Factors of contractions and what becomes of their results, written in terms of rows and lanes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

from tracec.codegen.c_blocking import MIN_LINE
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import LoopWriter, names_in, written_names
from tracec.codegen.c_rows import RowFinder
from tracec.codegen.c_source import Given
from tracec.codegen.expressions import ExpressionWriter
from tracec.codegen.tree import Line, Tree
from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.kernel import (
    Call,
    Const,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Mod,
    Stmt,
    Store,
    Var,
    expressions,
    parts,
    subexpressions,
)  # fmt: skip
from tracec.ir.types import contiguous_strides

# No name of a kernel: what the templates call the flat position among the lanes, and among the rows.
LANE, ROW = "#lane", "#row"
_FLAT = {LANE: "p", ROW: "s"}
# The position on a line that windows slide over.
_LINE = "#line"


@dataclass(frozen=True, slots=True)
class Digit:
    """A loop variable as a digit of a flat position.

    Attributes:
        name: The variable.
        value: The text of its value.
        stride: How far the position moves from one iteration to the next.
        extent: How many there are.
    """

    name: str
    value: str
    stride: int
    extent: int


@dataclass(frozen=True, slots=True)
class Counter:
    """A counting loop."""

    var: str
    extent: int

    @property
    def short(self) -> bool:
        """Whether it is written out, as over the places of a small window."""
        return not is_varying(self.extent) and self.extent <= 4

    @property
    def shortest(self) -> bool:
        """Whether it is written out around another one that is: of four by four compilers make more than it saves."""
        return self.short and self.extent < 4


@dataclass(frozen=True, slots=True)
class Epilogue:
    """What is done with results: statements once, those of each row, and those of each result."""

    once: tuple[Tree, ...] = ()
    row: tuple[Tree, ...] = ()
    each: tuple[Tree, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """How elements of a row lie side by side along the innermost reduced loops.

    Attributes:
        pitch: Elements from one row to the next.
        cut: Whether the loop that is cut into blocks is one of these loops,
        outside: else how many of the loops within a block are not,
        length: and the elements along those that are.
        size: Elements of the buffer.
    """

    pitch: int
    cut: bool
    outside: int
    length: int
    size: int


@dataclass(frozen=True, slots=True)
class Slide:
    """How windows of neighbouring lanes slide over a line.

    Attributes:
        step: Elements from the window of a lane to that of the next,
        dilation: and from one element of a window to the next.
        tap: The loop over a window's elements.
    """

    step: int
    dilation: int
    tap: Counter

    @property
    def reach(self) -> int:
        """From the first element of a window to its last."""
        return self.dilation * (self.tap.extent - 1)


@dataclass(frozen=True, slots=True)
class Part:
    """What a piece of a contraction is about.

    Attributes:
        kind: ``rows`` and ``lanes`` put a factor into panels, ``row_runs`` those of a matrix in memory, ``slides`` the
            windows over a line; ``row_lines`` and ``lane_lines`` put a line of a factor behind the other; ``finish`` is
            about results.
        used: Loop variables that it names.
        buffers: Buffers that it reads and writes, as it names them: ``a0`` and so on.
        value: The factor's value: at row ``s`` or at lane ``p`` (its number within the panel is ``t``); of rows in
            memory where a run begins; of windows at element ``j`` of the line.
        epilogue: What is done with each result.
        run: How rows lie that are those of a matrix in memory.
        given: Lists that it reads.
        slide: How windows slide over a line.
    """

    kind: str
    used: frozenset[str]
    buffers: tuple[str, ...]
    value: str = ""
    epilogue: Epilogue = Epilogue()
    run: Run | None = None
    given: tuple[Given, ...] = ()
    slide: Slide | None = None


class FactorWriter:
    """Writes the factors and the epilogue in terms of lanes and rows.

    Args:
        kernel: The kernel.
        inside: Loops that are lanes.
        p: Their position, flat.
        narrow: Loops that are rows.
        s: Their position, flat.
        variables: Names of loop variables.
    """

    def __init__(
        self, kernel: Kernel, inside: list[Var], p: Var, narrow: list[Var], s: Var, variables: dict[str, str]
    ) -> None:
        self.kernel = kernel
        self.inside, self.p = inside, p
        self.narrow, self.s = narrow, s
        self.names = {**_FLAT, **variables}

    def factor(self, kind: str, value: Expr) -> Part:
        """A factor."""
        flat = self._flat(value)
        variables = self._at_lanes() if kind == "lanes" else self.names
        buffers = _buffers((flat,))
        text = ExpressionWriter(C, {**variables, **own_names(buffers)}).write(flat)
        return Part(kind, self._used((flat,)), buffers, text)

    def runs(self, value: Expr, k_loop: Var, k_inner: list[Var]) -> Part | None:
        """The rows' factor where it is a matrix in memory, elements of a row side by side; None where it is not."""
        flat = self._flat(value)
        if not isinstance(flat, Load):
            return None
        terms, offset = ix.terms_of(flat.index)
        pitch = terms.get(self.s)
        if pitch is None or any(not isinstance(t, Var) or t in self.narrow for t in terms):
            return None
        length, inside = 1, 0
        for v in reversed([k_loop, *k_inner]):
            if is_varying((v.extent, terms.get(v, 0))) or terms.get(v, 0) != length:
                break
            length, inside = length * v.extent, inside + 1
        if length < MIN_LINE:
            return None
        cut = inside > len(k_inner)
        kept: Expr = Const(offset)
        for t, c in terms.items():
            if cut or t not in k_inner[len(k_inner) - inside :]:
                kept = ix.add(kept, ix.mul(t, c) if not (cut and t in k_inner) else Const(0))
        first = Load(flat.buffer, kept, flat.dtype)
        buffers = _buffers((first,))
        size = next(b.size for b in self.kernel.buffers if b.name == flat.buffer)
        text = ExpressionWriter(C, {**self.names, **own_names(buffers)}).write(first)
        run = Run(pitch, cut, len(k_inner) - inside, length, size)
        return Part("row_runs", self._used((first,)), buffers, text, run=run)

    def slides(self, value: Expr, k_inner: list[Var]) -> Part | None:
        """The lanes' factor where windows slide over a line by more than an element, of which not all are there.

        Compilers have no vectors for what is read so; of the line they read what lies side by side. None elsewhere.
        """
        if len(self.inside) != 1 or not k_inner or isinstance(value, Load):
            return None
        (lane,), tap = self.inside, k_inner[-1]
        moves = _moves(value, lane, tap)
        if moves is None or is_varying((*moves, tap.extent)) or tap.extent < 2:
            return None
        step, dilation = moves
        if step < 2:
            return None
        line = Var(_LINE, step * lane.extent + dilation * tap.extent)
        moved = self._flat(_along(value, lane, tap, line))
        buffers = _buffers((moved,))
        text = ExpressionWriter(C, {**self.names, **own_names(buffers), _LINE: "j"}).write(moved)
        used = frozenset(self.names[e.name] for e in subexpressions(moved) if isinstance(e, Var) and e != line)
        counter = Counter(self.names[tap.name], tap.extent)
        return Part("slides", used, buffers, text, slide=Slide(step, dilation, counter))

    def finish(self, body: tuple[Stmt, ...], acc: str) -> Part:
        """What is done with results; scalars that are the same for all of them, or for a row, stand before."""
        body = tuple(map(self._statement, body))
        every = {e for s in body for root in expressions(s) for e in subexpressions(root) if isinstance(e, Var)}
        finder = RowFinder(every.difference(self.inside, (self.p,)), written_names(body))
        body = finder.body(body)
        groups = self._grouped(body, acc)
        found: list[Expr] = [e for r in finder.rows for e in (r.position, r.index)]
        for s in itertools.chain(*groups):
            found += [Load(s.buffer, s.index, s.value.dtype), s.value] if isinstance(s, Store) else expressions(s)
        named = {r.name for r in finder.rows}
        buffers = tuple(b for b in _buffers(found) if b not in named)  # in the order in which they are written
        writer = LoopWriter(self.kernel)
        writer.text.names.update({**self._at_lanes(), **own_names(buffers), acc: "result"})
        scalars = [s.name for s in body if isinstance(s, Let)]
        writer.text.names.update((name, f"v{n}") for n, name in enumerate(scalars))
        lines = tuple(Line(line) for r in finder.rows for line in r.lines(writer.text))
        once, row, each = (tuple(map(writer.statement, group)) for group in groups)
        given = tuple(g for r in finder.rows for g in r.given(ExpressionWriter(C)))
        return Part("finish", self._used(found), buffers, epilogue=Epilogue(once, (*lines, *row), each), given=given)

    def _grouped(self, body: Iterable[Stmt], acc: str) -> tuple[list[Stmt], list[Stmt], list[Stmt]]:
        """Statements that are the same for all results, for those of a row, and others."""
        body = tuple(body)
        of_lane = {acc, LANE, *(v.name for v in self.inside)} | written_names(body)
        of_row = of_lane | {ROW, *(v.name for v in self.narrow)}
        once: list[Stmt] = []
        row: list[Stmt] = []
        each: list[Stmt] = []
        for s in body:
            names = set(names_in(s))
            if not isinstance(s, Let) or not of_lane.isdisjoint(names):
                place = each
            else:
                place = once if of_row.isdisjoint(names) else row
            place.append(s)
            if isinstance(s, Let) and place is not once:
                of_row.add(s.name)
                of_lane.update((s.name,) if place is each else ())
        return once, row, each

    def _used(self, found: Iterable[Expr]) -> frozenset[str]:
        """The names of loop variables in expressions."""
        every = (e for root in found for e in subexpressions(root))
        return frozenset(self.names[e.name] for e in every if isinstance(e, Var))

    def digits(self, loops: list[Var], position: str) -> tuple[Digit, ...]:
        strides = contiguous_strides(tuple(v.extent for v in loops))
        found = []
        for n, (v, stride) in enumerate(zip(loops, strides, strict=True)):
            value = position if n == len(loops) - 1 else f"{position} / {stride}"
            found.append(Digit(self.names[v.name], f"{value} % {v.extent}" if n else value, stride, v.extent))
        return tuple(found)

    def counters(self, loops: list[Var]) -> tuple[Counter, ...]:
        return tuple(Counter(self.names[v.name], v.extent) for v in loops)

    def _at_lanes(self) -> dict[str, str]:
        return {**self.names, **{v.name: f"{self.names[v.name]}_of[t]" for v in self.inside}}

    def _statement(self, s: Stmt) -> Stmt:
        match s:
            case Let(name, value):
                return Let(name, self._flat(value))
            case Store(buffer, index, value, add):
                return Store(buffer, self._flat(index), self._flat(value), add)
        return s

    def _flat(self, e: Expr) -> Expr:
        """Positions that move evenly along the flat lanes (or rows) written with the flat variable."""
        match e:
            case Var() | Linear():
                for loops, flat in ((self.inside, self.p), (self.narrow, self.s)):
                    e = _flattened(e, loops, flat)
                if isinstance(e, Linear):
                    return Linear(tuple((t if isinstance(t, Var) else self._flat(t), c) for t, c in e.terms), e.offset)
                return e
            case Div(value, by):
                return Div(self._flat(value), by)
            case Mod(value, by):
                return Mod(self._flat(value), by)
            case Load(buffer, index, dtype):
                return Load(buffer, self._flat(index), dtype)
            case Call(op, args, dtype):
                return Call(op, tuple(self._flat(x) for x in args), dtype)
            case _:
                return e


def _buffers(found: Iterable[Expr]) -> tuple[str, ...]:
    """The buffers in expressions, in the order in which they are written."""
    every = (e for root in found for e in subexpressions(root))
    return tuple(dict.fromkeys(e.buffer for e in every if isinstance(e, Load)))


def own_names(buffers: Sequence[str]) -> dict[str, str]:
    """The names of buffers within a piece, so that pieces of kernels are alike."""
    return {name: f"a{n}" for n, name in enumerate(buffers)}


def _moves(value: Expr, lane: Var, tap: Var) -> tuple[int, int] | None:
    """How far all positions move with a lane, and with an element of its window; None where they differ."""
    found = set()
    stack = [value]
    while stack:
        e = stack.pop()
        if not isinstance(e, (Var, Linear)):
            stack += parts(e)
            continue
        terms, _ = ix.terms_of(e)
        stack += [t for t in terms if not isinstance(t, Var)]
        across, within = terms.get(lane, 0), terms.get(tap, 0)
        if is_varying((across, within)) or min(across, within) < 0 or (across > 0) != (within > 0):
            return None
        if across:
            common = gcd(across, within)
            found.add((across // common, within // common))
    return found.pop() if len(found) == 1 else None


def _along(e: Expr, lane: Var, tap: Var, line: Var) -> Expr:
    """A value with positions that move with a lane and its window written with those of the line."""
    match e:
        case Var() | Linear():
            terms, offset = ix.terms_of(e)
            total: Expr = Const(offset)
            for t, c in terms.items():
                if t == tap:
                    total = ix.add(total, ix.mul(line, gcd(c, terms[lane])))
                elif t != lane:
                    total = ix.add(total, ix.mul(t if isinstance(t, Var) else _along(t, lane, tap, line), c))
            return total
        case Div(value, by):
            return Div(_along(value, lane, tap, line), by)
        case Mod(value, by):
            return Mod(_along(value, lane, tap, line), by)
        case Load(buffer, index, dtype):
            return Load(buffer, _along(index, lane, tap, line), dtype)
        case Call(op, args, dtype):
            return Call(op, tuple(_along(x, lane, tap, line) for x in args), dtype)
        case _:
            return e


def _flattened(e: Expr, loops: list[Var], flat: Var) -> Expr:
    terms, offset = ix.terms_of(e)
    step = terms.get(loops[-1], 0)
    strides = contiguous_strides(tuple(v.extent for v in loops))
    if step == 0 or any(terms.get(v, 0) != step * s for v, s in zip(loops, strides, strict=True)):
        return e
    rest: Expr = Const(offset)
    for t, c in terms.items():
        if t not in loops:
            rest = ix.add(rest, ix.mul(t, c))
    return ix.add(rest, ix.mul(flat, step))
