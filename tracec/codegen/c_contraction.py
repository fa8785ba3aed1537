"""Contractions as blocked products: both factors are packed into panels, a small kernel multiplies panels.

The result is a matrix: its lanes are the loops along which the result is contiguous, its rows the loops that
only the other factor depends on. A panel holds the factor's values for a block of the reduced loops, so
padding, strides and whatever was fused into the factors cost one evaluation an element, and the innermost
loops multiply what lies side by side in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracec.codegen.c_blocking import (
    BLOCK,
    MAX_ROWS,
    MIN_LINE,
    MIN_PARALLEL,
    blocks_of,
    flat_loops,
    goes_on,
    is_contiguous,
    row_chunk,
    split_reduction,
)  # fmt: skip
from tracec.codegen.c_dialect import C
from tracec.codegen.c_loops import LoopWriter, chain, names_in, written_names
from tracec.codegen.c_prelude import CONTRACTIONS, FloatHelpers
from tracec.codegen.c_rows import RowFinder
from tracec.codegen.c_source import Around, Function, Given, Head, Parameter, Piece, comments, parameters
from tracec.codegen.expressions import ExpressionWriter
from tracec.codegen.render import render_template
from tracec.codegen.tree import Line, Tree
from tracec.ir import dtype as dt
from tracec.ir import index as ix
from tracec.ir.extent import chosen, is_varying, plain
from tracec.ir.kernel import (
    Acc,
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
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
)  # fmt: skip
from tracec.ir.types import contiguous_strides, numel

#: Multiplications below which packing does not pay.
MIN_WORK = 1 << 14
#: Loops of lanes at most.
MAX_DIGITS = 8
# No name of a kernel: what the templates call the flat position among the lanes, and among the rows.
_LANE, _ROW = "#lane", "#row"
_FLAT = {_LANE: "p", _ROW: "s"}
# The function that makes panels of the rows of a matrix, but for the type at its end.
_TURN = "turn_rows_"


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
class Part:
    """What a piece of a contraction is about.

    Attributes:
        kind: ``rows`` and ``lanes`` put a factor into panels, ``row_runs`` those of a matrix in memory, ``row_lines``
            and ``lane_lines`` a line of one behind the other; ``finish`` is about results.
        used: Loop variables that it names.
        buffers: Buffers that it reads and writes, as it names them: ``a0`` and so on.
        value: The factor's value: at row ``s`` or at lane ``p`` (its number within the panel is ``t``); of rows in
            memory where a run begins.
        epilogue: What is done with each result.
        run: How rows lie that are those of a matrix in memory.
        given: Lists that it reads.
    """

    kind: str
    used: frozenset[str]
    buffers: tuple[str, ...]
    value: str = ""
    epilogue: Epilogue = Epilogue()
    run: Run | None = None
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class Product:
    """A contraction, ready to be laid out.

    Attributes:
        type: C's type of the accumulator, ``float`` or ``double``.
        short: ``f32`` or ``f64``.
        batch: Iterations of loops that both factors depend on.
        outer: Iterations of loops of the lanes' factor that stay loops.
        positions: Variables of loops that are read off a position.
        lanes: How many flat lanes there are.
        lane_digits: Loop variables that must be read off a lane's position.
        rows: How many rows there are.
        row_digits: Loop variables that are read off a row's position.
        row_chunk: Rows that one unit computes; a multiple of 24, so of every tile height.
        k_outer: Reduced loops around blocks,
        around: and their iterations,
        cut: and those of the outermost reduced loop.
        k_loop: The reduced loop that is cut into blocks.
        k_chunk: Its iterations in a block.
        k_inner: Reduced loops within a block.
        k_unit: Reduced elements in an iteration of ``k_loop``.
        lane_line: Whether memory of the lanes' factor goes on along the innermost reduced loop: where sums are split
            into parts, lanes are then computed one by one, with their loop variables as scalars, and turned.
        row_line: Whether so are the rows.
        parts: Parts that the outermost reduced loop is split into; 1 where units are panels of lanes.
        shared: Whether threads share the units, as C.
    """

    type: str
    short: str
    batch: int
    outer: int
    positions: tuple[Digit, ...]
    lanes: int
    lane_digits: tuple[Digit, ...]
    rows: int
    row_digits: tuple[Digit, ...]
    row_chunk: int
    k_outer: tuple[Counter, ...]
    around: int
    cut: int
    k_loop: Counter
    k_chunk: int
    k_inner: tuple[Counter, ...]
    k_unit: int
    lane_line: bool
    row_line: bool
    parts: int
    shared: int

    @property
    def loops(self) -> str:
        """The function that has the loops."""
        return f"contract_{'parts_' if self.parts > 1 else ''}{self.short}"


def render_contraction(kernel: Kernel, *, restrict: bool) -> Function | None:
    """The kernel as a blocked product; None where plain loops are better."""
    parts = _take_apart(kernel)
    if parts is None:
        return None
    planned = _plan(kernel, *parts)
    if planned is None:
        return None
    product, about = planned
    pieces = tuple(_piece(kernel, product, part, restrict) for part in about)
    head = Head(kernel.name, parameters(kernel, restrict=restrict), comments(kernel))
    turned = tuple(f"{_TURN}{product.short}" for part in about if part.run is not None)
    around, given = Around("c/contraction.j2", product, pieces), tuple(g for part in about for g in part.given)
    return Function(head, given=given, around=around, calls=(product.loops, *turned), asks=True)


def loops_of_contractions(functions: Iterable[Function]) -> list[Function]:
    """The functions that have the loops of those contractions that are among some functions, and what pieces call."""
    called = {name for f in functions for name in f.calls}
    found = []
    for name in sorted(CONTRACTIONS & called):
        loops, _, short = name.rpartition("_")
        view = FloatHelpers("float" if short == "f32" else "double", short, "")
        work = "between" if loops == "between" else "contraction"
        found.append(
            Function(
                Head(name, (Parameter(f"const struct {work} *", "c"),)),
                render_template(f"c/{loops}.j2", f=view, block=BLOCK, max_rows=MAX_ROWS, max_digits=MAX_DIGITS),
                before=render_template("c/between_pack.j2", f=view) if loops == "between" else "",
            )
        )
    for d in (dt.float32, dt.float64):
        if f"{_TURN}{d.short}" in called:
            found.append(_turn_rows(C.types[d], d.short))
    return found


def _turn_rows(type: str, short: str) -> Function:
    """The function that makes panels of the rows of a matrix."""
    array, number = f"{type} *restrict ", "long "
    names = {"from": f"const {array}", "pitch": number, "count": number, "run": number, "to": array, "room": number}
    head = Head(f"{_TURN}{short}", tuple(Parameter(t, n) for n, t in names.items()))
    return Function(head, render_template("c/turn_rows.j2", f=FloatHelpers(type, short, "")))


def _piece(kernel: Kernel, product: Product, part: Part, restrict: bool) -> Piece:
    known = {b.name: p for b, p in zip(kernel.buffers, parameters(kernel, restrict=restrict), strict=True)}
    given = [*(known[name] for name in part.buffers), *(g.parameter for g in part.given)]
    names = [*_own(part.buffers).values(), *(g.name for g in part.given)]
    pointers = [f"{p.type}{name} = own->args[{n}]" for n, (name, p) in enumerate(zip(names, given, strict=True))]
    text = render_template("c/piece.j2", k=product, part=part, pointers=pointers)
    return Piece(part.kind, text, tuple(p.name for p in given))


def _take_apart(kernel: Kernel) -> tuple[list[Var], list[Var], tuple[Stmt, ...]] | None:
    """Parallel loops, reduced loops and epilogue of a body that is what its mark says."""
    c = kernel.contraction
    if c is None or len(kernel.body) != 1 or not isinstance(kernel.body[0], Loop):
        return None
    loops, body = chain(kernel.body[0])
    if len(body) < 2 or not isinstance(body[0], Acc) or not isinstance(body[1], Loop) or body[0].name != c.acc:
        return None
    if body[0].combine != "add" or body[0].dtype not in (dt.float32, dt.float64):
        return None
    reduced: list[Var] = []
    inner: Stmt = body[1]
    while isinstance(inner, Loop) and len(inner.body) == 1:
        reduced.append(inner.var)
        inner = inner.body[0]
    epilogue = body[2:]
    plain = isinstance(inner, Update) and all(isinstance(s, (Let, Store)) for s in epilogue)
    return ([s.var for s in loops], reduced, epilogue) if plain else None


def _plan(
    kernel: Kernel, loops: list[Var], reduced: list[Var], epilogue: tuple[Stmt, ...]
) -> tuple[Product, tuple[Part, ...]] | None:
    c = kernel.contraction
    assert c is not None
    by_name = {v.name: v for v in loops}
    m, n, batch = ([v for v in loops if v.name in group] for group in (c.m, c.n, c.batch))
    work = numel(v.extent for v in (*loops, *reduced))
    total = plain(work)
    if not m or not n or not reduced or total < MIN_WORK or len(m) + len(n) + len(batch) != len(by_name):
        return None
    if max(len(m), len(n)) > MAX_DIGITS:
        return None
    lanes_first = is_contiguous(epilogue, m, n)
    wide, narrow, a, b = (m, n, c.a, c.b) if lanes_first else (n, m, c.b, c.a)
    rows, lanes_all = numel(v.extent for v in narrow), numel(v.extent for v in wide)
    if plain(rows) < 3 or plain(lanes_all) < 8:
        return None
    split = split_reduction(plain(rows), plain(lanes_all), reduced, total)
    flat = len(wide) if split > 1 else flat_loops(wide, a)
    outer, inside = wide[: len(wide) - flat], wide[len(wide) - flat :]
    p, s = Var(_LANE, numel(v.extent for v in inside)), Var(_ROW, rows)
    k_outer, k_loop, k_inner = blocks_of(reduced, split)
    unit = numel(v.extent for v in k_inner)
    dtype = _acc_dtype(kernel, c.acc)
    panels = numel(plain(v.extent) for v in outer) * -(-plain(p.extent) // 32)
    chunk = row_chunk(plain(rows), panels, split)
    units = panels * -(-plain(rows) // chunk)
    writer = _Writer(kernel, inside, p, narrow, s, _named(batch, outer, inside, narrow, reduced))
    last = (k_inner or [k_loop])[-1]
    rows_in_memory = writer.runs(b, k_loop, k_inner)
    row_line, lane_line = rows_in_memory is None and goes_on(b, last), goes_on(a, last)
    parts = (
        rows_in_memory or writer.factor("row_lines" if split > 1 and row_line else "rows", b),
        writer.factor("lane_lines" if split > 1 and lane_line else "lanes", a),
        writer.finish(epilogue, c.acc),
    )
    product = Product(
        type=C.types[dtype], short=dtype.short,
        batch=numel(v.extent for v in batch), outer=numel(v.extent for v in outer),
        positions=(
            *writer.digits(batch, "b->batch"), *writer.digits(outer, "b->outer"), *writer.digits(k_outer, "b->around")
        ),
        lanes=p.extent, lane_digits=writer.digits(inside, "p"), rows=rows, row_digits=writer.digits(narrow, "s"),
        row_chunk=chunk, k_outer=writer.counters(k_outer), around=numel(v.extent for v in k_outer),
        cut=reduced[0].extent, k_loop=writer.counters([k_loop])[0],
        k_chunk=max(1, BLOCK // unit if is_varying(k_loop.extent) else min(BLOCK // unit, k_loop.extent)),
        k_inner=writer.counters(k_inner), k_unit=unit, lane_line=lane_line, row_line=row_line, parts=split,
        shared=chosen("shared", lambda n: int(n >= MIN_PARALLEL), work)
        if is_varying(work) else int(total >= MIN_PARALLEL and (split > 1 or units > 1)),
    )  # fmt: skip
    return product, parts


def _named(
    batch: list[Var], outer: list[Var], inside: list[Var], narrow: list[Var], reduced: list[Var]
) -> dict[str, str]:
    """Names of loop variables by what they are, so that pieces of kernels are alike."""
    groups = (("b", batch), ("o", outer), ("l", inside), ("m", narrow), ("r", reduced))
    return {v.name: f"{letter}{n}" for letter, variables in groups for n, v in enumerate(variables)}


def _acc_dtype(kernel: Kernel, name: str) -> dt.DType:
    assert isinstance(kernel.body[0], Loop)
    _, body = chain(kernel.body[0])
    return next(s.dtype for s in body if isinstance(s, Acc) and s.name == name)


class _Writer:
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
        text = ExpressionWriter(C, {**variables, **_own(buffers)}).write(flat)
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
        text = ExpressionWriter(C, {**self.names, **_own(buffers)}).write(first)
        run = Run(pitch, cut, len(k_inner) - inside, length, size)
        return Part("row_runs", self._used((first,)), buffers, text, run=run)

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
        writer.text.names.update({**self._at_lanes(), **_own(buffers), acc: "result"})
        scalars = [s.name for s in body if isinstance(s, Let)]
        writer.text.names.update((name, f"v{n}") for n, name in enumerate(scalars))
        lines = tuple(Line(line) for r in finder.rows for line in r.lines(writer.text))
        once, row, each = (tuple(map(writer.statement, group)) for group in groups)
        given = tuple(g for r in finder.rows for g in r.given(ExpressionWriter(C)))
        return Part("finish", self._used(found), buffers, epilogue=Epilogue(once, (*lines, *row), each), given=given)

    def _grouped(self, body: Iterable[Stmt], acc: str) -> tuple[list[Stmt], list[Stmt], list[Stmt]]:
        """Statements that are the same for all results, for those of a row, and others."""
        body = tuple(body)
        of_lane = {acc, _LANE, *(v.name for v in self.inside)} | written_names(body)
        of_row = of_lane | {_ROW, *(v.name for v in self.narrow)}
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


def _own(buffers: Sequence[str]) -> dict[str, str]:
    """The names of buffers within a piece, so that pieces of kernels are alike."""
    return {name: f"a{n}" for n, name in enumerate(buffers)}


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
