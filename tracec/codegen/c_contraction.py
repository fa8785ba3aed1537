"""Contractions as blocked products: both factors are packed into panels, a small kernel multiplies panels.

The result is a matrix: its lanes are the loops along which the result is contiguous, its rows the loops that
only the other factor depends on. A panel holds the factor's values for a block of the reduced loops, so
padding, strides and whatever was fused into the factors cost one evaluation an element, and the innermost
loops multiply what lies side by side in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracec.codegen.c_blocking import (
    BLOCK,
    MAX_ROWS,
    MIN_PARALLEL,
    blocks_of,
    flat_loops,
    goes_on,
    is_contiguous,
    row_chunk,
    split_reduction,
)  # fmt: skip
from tracec.codegen.c_dialect import C
from tracec.codegen.c_factors import LANE, ROW, Counter, Digit, FactorWriter, Part, own_names
from tracec.codegen.c_loops import chain
from tracec.codegen.c_prelude import CONTRACTIONS, FloatHelpers
from tracec.codegen.c_source import Around, Function, Head, Parameter, Piece, comments, parameters
from tracec.codegen.render import render_template
from tracec.ir import dtype as dt
from tracec.ir.extent import chosen, is_varying, plain
from tracec.ir.kernel import Acc, Kernel, Let, Loop, Stmt, Store, Update, Var
from tracec.ir.types import numel

#: Multiplications below which packing does not pay.
MIN_WORK = 1 << 14
#: Loops of lanes at most.
MAX_DIGITS = 8
# The function that makes panels of the rows of a matrix, but for the type at its end.
_TURN = "turn_rows_"


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
    names = [*own_names(part.buffers).values(), *(g.name for g in part.given)]
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
    p, s = Var(LANE, numel(v.extent for v in inside)), Var(ROW, rows)
    k_outer, k_loop, k_inner = blocks_of(reduced, split)
    unit = numel(v.extent for v in k_inner)
    dtype = _acc_dtype(kernel, c.acc)
    panels = numel(plain(v.extent) for v in outer) * -(-plain(p.extent) // 32)
    chunk = row_chunk(plain(rows), panels, split)
    units = panels * -(-plain(rows) // chunk)
    writer = FactorWriter(kernel, inside, p, narrow, s, _named(batch, outer, inside, narrow, reduced))
    last = (k_inner or [k_loop])[-1]
    rows_in_memory = writer.runs(b, k_loop, k_inner)
    row_line, lane_line = rows_in_memory is None and goes_on(b, last), goes_on(a, last)
    slides = None if split > 1 and lane_line else writer.slides(a, k_inner)
    parts = (
        rows_in_memory or writer.factor("row_lines" if split > 1 and row_line else "rows", b),
        slides or writer.factor("lane_lines" if split > 1 and lane_line else "lanes", a),
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
