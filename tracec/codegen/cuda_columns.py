"""Reductions over strided elements: neighbouring threads take neighbouring columns, a pack of them each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel, stride
from tracec.codegen.cuda_chunk import first_of_pack, mentions, write_chunk, write_pack
from tracec.codegen.cuda_entry import Entry, Function, View, alignments, ceil_div, head, lines
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_row_body import loop_nest, row_space, scratch_words
from tracec.codegen.cuda_row_stages import IN_FLIGHT, Stage, deal, unrolling
from tracec.codegen.cuda_rows import row_entry
from tracec.codegen.cuda_share import MANY_THREADS, Share
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import (
    Acc,
    Kernel,
    Let,
    Load,
    Loop,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    subexpressions,
    walk,
)

#: Reductions of so few elements run in one thread.
SHORT = 32
#: Threads of a block where there are blocks enough, and where not.
THREADS, MOST_THREADS = 256, 1024
#: Bytes that threads side by side read in one piece, at least and at most.
LEAST_PIECE, MOST_PIECE = 128, 256
#: With fewer blocks than this, pieces are half as long, or a sector where threads would have many rows,
FEW_BLOCKS, SECTOR, MANY_ROWS = 96, 32, 4
#: and what a sum is written over is read before it: nothing else hides how long that takes.
FEW_COLUMNS = 4096
#: Rows that a thread takes at least: its loads are in flight together.
LEAST_ROWS = 8
#: Registers of a thread for columns that it keeps, and the accumulators of a pack.
MOST_KEPT = 16
#: Shared memory for combining accumulators.
TILE_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True)
class ColumnView(View):
    """What ``column.j2`` needs.

    Attributes:
        each: Loop over the columns of a thread, which ``e`` numbers; empty for one column.
        e: That number.
    """

    start: tuple[str, ...]
    stages: tuple[Stage, ...]
    share: str
    chunks: str
    ragged: bool
    lanes: int
    height: int
    first_step: int
    width: int
    each: str
    e: str
    columns: str
    last_column: str
    block_columns: str


def rows_lie_apart(body: Sequence[Stmt], variables: Sequence[Var], row: int) -> bool:
    """Whether rows are contiguous and do not overlap: lanes should then go along them, short as they are."""
    loads = [
        (inner, v[-1])
        for v, nest in (loop_nest(s) for s in body if isinstance(s, Loop))
        for inner in certain_loads(nest)
        if v
    ]
    apart = [x for x, last in loads if stride(x.index, last) == 1 and plain(stride(x.index, variables[-1]) or 0) >= row]
    return row >= 8 and bool(apart) if variables else False


def column_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which threads side by side reduce neighbouring columns, and those above each other share them."""
    variables, body = peel(kernel.body)
    row = extent(row_space(body, kernel))
    if rows_lie_apart(body, variables, plain(row)):
        return row_entry(kernel, name)
    if plain(row) <= SHORT:
        return map_entry(kernel, name)
    writer = Writer(kernel)
    if plain(extent(variables)) <= FEW_COLUMNS:
        body = _loads_first(body)
    packs = _column_packs(writer, body, variables)
    width = max((p.width for p in packs.values()), default=1)
    columns = extent(variables) // width
    packed = [writer.buffers[b].itemsize for p in packs.values() for b, _ in p.loads]
    shape = _block_shape(body, plain(row), plain(columns), width, width * max(packed, default=4))
    if shape is None:
        return row_entry(kernel, name)
    lanes, height = shape
    words = scratch_words(body)
    parts = ceil_div(row, height) if words else 0
    ragged = is_varying(columns) or columns % lanes != 0
    writer.store_guard = "live" if ragged else ""
    start = lines((*_start(writer, variables, width), *_scratch(writer, body, parts * width)))
    once = "thread == 0 && live" if ragged else "thread == 0"
    threads = lanes * height
    in_flight = IN_FLIGHT * MOST_THREADS // threads if plain(columns) < FEW_BLOCKS * lanes else IN_FLIGHT
    stages = _stages(writer, body, packs, variables, height, once, in_flight)
    view = ColumnView(
        head(writer, name, threads), start, stages, writer.count(height), writer.count(row), ragged,
        lanes, height, height // 2, width,
        f"for (int e = 0; e < {width}; ++e)" if width > 1 else "", "e" if width > 1 else "0",
        writer.count(columns), writer.count(max(columns - 1, 0)), writer.count(lanes),
    )  # fmt: skip
    wide = f", packs of {width}" if width > 1 else ""
    schedule = f"{lanes * width} columns by {height} threads a block, {row} elements a column{wide}"
    return Entry(
        Function("column", view), (ceil_div(columns, lanes), 1, 1),
        (lanes, height, 1), 0, alignments(kernel, packs.values()), schedule=schedule,
    )  # fmt: skip


def _loads_first(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """A column's statements, with what it only reads, and no loop writes, in front of the first loop."""
    written = {s.buffer for s in walk(tuple(s for s in body if isinstance(s, Loop))) if isinstance(s, Store)}
    first = next((k for k, s in enumerate(body) if isinstance(s, Loop)), len(body))

    def is_read(stmt: Stmt) -> bool:
        if not isinstance(stmt, Let) or not isinstance(stmt.value, Load) or stmt.value.buffer in written:
            return False
        return not any(isinstance(e, (Ref, Load)) for e in subexpressions(stmt.value.index))

    early = [s for s in body[first:] if is_read(s)]
    return (*body[:first], *early, *(s for s in body[first:] if not is_read(s)))


def _column_packs(writer: Writer, body: Sequence[Stmt], variables: Sequence[Var]) -> dict[int, Packs]:
    """Packs along neighbouring columns for each loop, and for the stores of results under -1, all of one width."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    parts = {place: loop_nest(s)[1] for place, s in enumerate(body) if isinstance(s, Loop)}
    results = [s for s in body if isinstance(s, Store)]
    if not variables:
        return dict.fromkeys((*parts, -1), Packs())
    last = variables[-1]
    width = min((p.width for p in (find_packs(b, last, memory) for b in parts.values()) if p.width > 1), default=1)
    while width > 1 and scratch_words(body) * width > MOST_KEPT:
        width //= 2
    found = {place: find_packs(b, last, memory, width) for place, b in parts.items()}
    return {**found, -1: find_packs(results, last, memory, width)}


def _block_shape(body: Sequence[Stmt], row: int, columns: int, width: int, pack_bytes: int) -> tuple[int, int] | None:
    """Threads side by side and above each other; None where they cannot keep the columns in registers."""
    least, most = LEAST_PIECE // max(pack_bytes, 4), MOST_PIECE // max(pack_bytes, 8)
    lanes = min(1 << max(columns - 1, 0).bit_length(), most)
    while lanes > least and ceil_div(columns, lanes) * THREADS < MANY_THREADS:
        lanes //= 2
    if width > 1 and lanes == least and ceil_div(columns, lanes) < FEW_BLOCKS:
        lanes //= 2
    words = scratch_words(body) * width
    while (
        not words and lanes * pack_bytes > SECTOR and ceil_div(columns, lanes) < FEW_BLOCKS
        and row * lanes > MANY_ROWS * THREADS
    ):  # fmt: skip
        lanes //= 2
    threads = min(MOST_THREADS, rung().threads)
    lanes = max(lanes * threads // MOST_THREADS, 1)  # so that as many share a column
    height = max(THREADS // lanes, 1)
    while lanes * height < threads:
        few = ceil_div(columns, lanes) * lanes * height < MANY_THREADS and row > LEAST_ROWS * height
        if ceil_div(row, height) * words <= MOST_KEPT if words else not few:
            break
        height *= 2
    while height > 1 and height >= 2 * row:
        height //= 2
    sizes = [max(s.dtype.itemsize, 4) for s in walk(tuple(body)) if isinstance(s, Acc)]
    while height > 1 and lanes * height * width * sum(sizes) > TILE_BYTES:
        height //= 2
    return None if ceil_div(row, height) * words > MOST_KEPT else (lanes, height)


def _start(writer: Writer, variables: Sequence[Var], width: int) -> tuple[Tree, ...]:
    if width > 1:
        return first_of_pack(writer, "column", variables, width)
    return writer.unflatten("column", variables)


def _scratch(writer: Writer, body: Sequence[Stmt], size: int) -> tuple[Tree, ...]:
    found: list[Tree] = []
    for stmt in body:
        if isinstance(stmt, Scratch):
            writer.arrays[stmt.name] = ""
            found.append(Line(f"{writer.dialect.types[stmt.dtype]} {writer.name(stmt.name)}[{max(size, 1)}];"))
    return tuple(found)


def _stages(
    writer: Writer, body: Sequence[Stmt], packs: dict[int, Packs], variables: Sequence[Var], height: int, once: str,
    in_flight: int,
) -> tuple[Stage, ...]:  # fmt: skip
    """The statements of a column by who does them; with packs, what is one number a column is an array."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    words, width = scratch_words(body), packs[-1].width
    if width > 1:
        names = [s.name for s in body if isinstance(s, (Acc, Let))]
        plain = {n: writer.name(n) for n in names}
        writer = writer.derive({n: f"{t}[e]" for n, t in plain.items()})
        writer.each = frozenset(names)
    stages: list[Stage] = []
    results = [s for s in body if isinstance(s, Store)]
    for place, stmt in enumerate(body):
        if isinstance(stmt, Loop):
            rows, inner = loop_nest(stmt)
            accs = dict.fromkeys(s.name for s in walk(inner) if isinstance(s, Update))
            # What the last column's threads write in place, those past the end must not read.
            guard = "" if accs else writer.store_guard
            each = writer.derive({})
            each.store_guard = writer.store_guard if accs else ""
            if width > 1:
                at = writer.unflatten("chunk", rows)
                chunk = (*at, *write_pack(each, variables[-1], inner, packs[place], "part"))
            else:
                chunk = write_chunk(each, rows, inner, Packs(), "part")
            unroll = 0 if words else unrolling(inner, memory, packs[place], in_flight)
            dealt = deal(writer, extent(rows), Share(height, 0), unroll)
            again = any(isinstance(s, Loop) for s in body[place + 1 :])
            stages.append(Stage(lines(chunk), dealt, tuple(writer.accumulator(a) for a in accs), again, guard))
        elif isinstance(stmt, (Acc, Let)):
            text: tuple[Tree, ...] = writer.statement(stmt)
            if width > 1:
                kind = writer.dialect.types[stmt.dtype if isinstance(stmt, Acc) else stmt.value.dtype]
                text = (Line(f"{kind} {plain[stmt.name]}[{width}];"), _for_each(writer, variables[-1], width, stmt))
            stages.append(Stage(lines(text)))
    if results:
        stages.append(Stage(lines(_results(writer, results, packs[-1], variables, once))))
    return tuple(stages)


def _results(
    writer: Writer, results: Sequence[Store], packs: Packs, variables: Sequence[Var], once: str
) -> tuple[Tree, ...]:
    """Nothing reads them in the kernel, so that one branch at the end serves all."""
    plain = writer.derive({})
    plain.store_guard = ""
    stores = write_pack(plain, variables[-1], results, packs) if packs.width > 1 else plain.statements(results)
    in_place = {b.name for b in writer.kernel.buffers if b.role == "inout"} & {s.buffer for s in results}
    # What they overwrite, every thread of the column may have still to read.
    wait = [Line("__syncthreads();")] if in_place else []
    return (*wait, Block(f"if ({once})", stores))


def _for_each(writer: Writer, last: Var, width: int, stmt: Acc | Let) -> Block:
    """A statement for every column of a pack, whose name is declared before."""
    if isinstance(stmt, Acc):
        acc = writer.accumulator(stmt.name)
        body: tuple[Tree, ...] = (Line(f"{acc.name} = {acc.identity};"),)
    else:
        body = (Line(f"{writer.name(stmt.name)} = {writer.write(stmt.value)};"),)
    if mentions(body, writer.name(last.name)):
        at = f"{writer.name(last.name)}_first + e"
        body = (Line(f"const {writer.index} {writer.name(last.name)} = {at};"), *body)
    return Block(f"for (int e = 0; e < {width}; ++e)", body, ("unroll",))
