"""Reductions: a warp or a block a row, or a tile of threads over columns; every thread gets the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel, stride
from tracec.codegen.cuda_chunk import write_chunk
from tracec.codegen.cuda_entry import Entry, Head, alignments, ceil_div, head, lines
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, Line, Tree
from tracec.errors import CompileError
from tracec.ir import index as ix
from tracec.ir.kernel import (
    Kernel,
    Load,
    Loop,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip

#: A warp takes a row of up to this many elements,
WARP_ROW = 1024
#: and of no more than this many where there are too few rows to fill a GPU with warps.
WARP_ROW_OF_FEW = 256
FEW_ROWS = 512
WARPS_OF_BLOCK = 4
#: Threads of a block → 32-bit words of a row that each may keep in registers.
KEPT_WORDS = {128: 32, 256: 32, 512: 24}
#: And in a tile of columns, whose blocks are large.
MOST_KEPT = 16
#: Elements a thread takes in an unrolled loop; more run in a plain one.
UNROLLED = 16
#: Reductions of so few elements run in one thread.
SHORT = 32
#: Shared memory that a block may ask for on every architecture.
SHARED_BYTES = 160 * 1024


@dataclass(frozen=True, slots=True)
class Stage:
    """A loop over the row, dealt out to threads, or what every thread does between two.

    Attributes:
        is_loop: Which of the two.
        body: Of a loop, one chunk.
        accs: Accumulators to combine across threads after the loop.
    """

    is_loop: bool
    body: tuple[str, ...]
    accs: tuple[Accumulator, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """How the threads that share a row deal out its chunks.

    Attributes:
        threads: How many they are.
        parts: Chunks of each thread, where the loop is unrolled; 0 for a plain loop.
        in_shared: Scratch lies in shared memory, not in registers.
    """

    threads: int
    parts: int
    in_shared: bool = False


@dataclass(frozen=True, slots=True)
class RowView:
    """What ``row.j2`` needs."""

    head: Head
    start: tuple[str, ...]
    stages: tuple[Stage, ...]
    parts: int
    share: str
    chunks: str
    guarded: bool
    warps_share: bool
    warps: int
    first_step: int
    ragged: bool
    rows: str
    block_rows: str


@dataclass(frozen=True, slots=True)
class ColumnView:
    """What ``column.j2`` needs."""

    head: Head
    start: tuple[str, ...]
    stages: tuple[Stage, ...]
    parts: int
    share: str
    chunks: str
    guarded: bool
    ragged: bool
    width: int
    height: int
    columns: str
    last_column: str
    block_columns: str


def row_space(body: Sequence[Stmt], kernel: Kernel) -> tuple[Var, ...]:
    """The loops that a row's reductions and writes run over, the same for all of them.

    Raises:
        CompileError: they differ, or scratch is not indexed by the position in the row.
    """
    spaces = {tuple(v.extent for v in loop_nest(s)[0]): loop_nest(s)[0] for s in body if isinstance(s, Loop)}
    if len(spaces) > 1:
        raise CompileError(f"kernel {kernel.name}: loops over a row have extents {' and '.join(map(str, spaces))}")
    scratch = {s.name for s in body if isinstance(s, Scratch)}
    for stmt in body:
        if not isinstance(stmt, Loop):
            continue
        variables, inner = loop_nest(stmt)
        position = ix.flatten(variables, tuple(v.extent for v in variables))
        for s in walk(inner):
            found = [
                (e.buffer, e.index) for root in expressions(s) for e in subexpressions(root) if isinstance(e, Load)
            ]
            found += [(s.buffer, s.index)] if isinstance(s, Store) else []
            if any(buffer in scratch and index != position for buffer, index in found):
                raise CompileError(
                    f"kernel {kernel.name}: scratch is indexed by something else than the row's position"
                )
    return next(iter(spaces.values()), ())


def loop_nest(loop: Loop) -> tuple[tuple[Var, ...], tuple[Stmt, ...]]:
    """The loops perfectly nested in one of its own kind, and what is inside."""
    return peel((loop,), loop.kind)


def scratch_words(body: Sequence[Stmt]) -> int:
    """32-bit registers for one position of all scratch arrays."""
    return sum(max(s.dtype.itemsize // 4, 1) for s in body if isinstance(s, Scratch))


def _stages(
    writer: Writer, body: Sequence[Stmt], packs: dict[int, Packs], slot: str, once: str, barrier: str
) -> tuple[Stage, ...]:
    """The row's statements by who does them.

    Args:
        writer: Writes the kernel.
        body: Statements of one row, scratch left out.
        packs: Of each loop, by its place in the body.
        slot: The counter that subscripts scratch.
        once: Condition under which a thread stores the row's own results.
        barrier: Waits for all threads that share the row.
    """
    stages: list[Stage] = []
    results: list[Store] = []
    for place, stmt in enumerate(body):
        if isinstance(stmt, Loop):
            variables, inner = loop_nest(stmt)
            chunk = write_chunk(writer, variables, inner, packs[place], slot)
            accs = dict.fromkeys(s.name for s in walk(inner) if isinstance(s, Update))
            stages.append(Stage(True, lines(chunk), tuple(writer.accumulator(a) for a in accs)))
        elif isinstance(stmt, Store):
            results.append(stmt)
        elif not isinstance(stmt, Scratch):
            stages.append(Stage(False, lines(writer.statement(stmt))))
    if results:  # nothing reads them in the kernel, so that one branch at the end serves all
        plain = writer.derive({})
        plain.store_guard = ""
        in_place = {b.name for b in writer.kernel.buffers if b.role == "inout"} & {s.buffer for s in results}
        # What they overwrite, every thread of the row may have still to read.
        wait = [Line(barrier)] if in_place else []
        stages.append(Stage(False, lines([*wait, Block(f"if ({once})", plain.statements(results))])))
    return tuple(stages)


def _row_packs(writer: Writer, body: Sequence[Stmt], keeps: bool) -> dict[int, Packs]:
    """Packs of each loop, all of one width, since scratch ties their iterations together."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    loops = {place: loop_nest(s) for place, s in enumerate(body) if isinstance(s, Loop)}
    found = {place: find_packs(inner, v[-1], memory) for place, (v, inner) in loops.items()}
    width = min((p.width for p in found.values() if p.width > 1), default=1)
    return {place: find_packs(inner, v[-1], memory, width) for place, (v, inner) in loops.items()}


def _scratch(body: Sequence[Stmt], writer: Writer, share: Share, width: int) -> tuple[tuple[Tree, ...], int]:
    """Declarations of scratch, and the bytes of shared memory that they take."""
    lines: list[Tree] = []
    offset = 0
    for stmt in body:
        if not isinstance(stmt, Scratch):
            continue
        kind, name = writer.dialect.types[stmt.dtype], writer.name(stmt.name)
        writer.arrays[stmt.name] = ""
        if share.in_shared:
            if not lines:
                lines.append(Line("extern __shared__ __align__(16) unsigned char scratch[];"))
            lines.append(Line(f"{kind} *const {name} = reinterpret_cast<{kind} *>(scratch + {offset});"))
            offset += -(-stmt.size * stmt.dtype.itemsize // 16) * 16
        else:
            lines.append(Line(f"{kind} {name}[{max(share.parts * width, 1)}];"))
    return tuple(lines), offset


def _row_share(rows: int, row: int, width: int, words: int) -> Share:
    """Threads for each of so many rows of so many elements, which keep ``words`` registers an element."""
    chunks = row // width
    if row * max(words, 1) <= (WARP_ROW if rows >= FEW_ROWS else WARP_ROW_OF_FEW):
        lanes = min(max(1 << max(chunks - 1, 0).bit_length(), 4), 32)
        return Share(lanes, max(ceil_div(chunks, lanes), 1))
    for threads, most in KEPT_WORDS.items():
        each = ceil_div(chunks, threads) * width
        if words and each * words <= most:
            return Share(threads, ceil_div(chunks, threads))
        if not words and each <= UNROLLED // 2:
            return Share(threads, ceil_div(chunks, threads))
    return Share(1024 if words == 0 else 512, 0, in_shared=words > 0)


def row_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a warp or a block computes one row."""
    variables, body = peel(kernel.body)
    space = row_space(body, kernel)
    writer = Writer(kernel)
    words = scratch_words(body)
    packs = _row_packs(writer, body, words > 0)
    width = max((p.width for p in packs.values()), default=1)
    rows, row = extent(variables), extent(space)
    share = _row_share(rows, row, width, words)
    shared = share.threads > 32
    declared, shared_bytes = _scratch(body, writer, share, width)
    if shared_bytes > SHARED_BYTES:
        raise CompileError(f"kernel {kernel.name}: a row keeps {shared_bytes} bytes, a block has {SHARED_BYTES}")
    start = lines((*writer.unflatten("row", variables), *declared))
    barrier = "__syncthreads();" if shared else "__syncwarp();"
    stages = _stages(writer, body, packs, "chunk" if share.in_shared else "part", "thread == 0", barrier)
    chunks = row // width
    per_block = 1 if shared else max(min(32 * WARPS_OF_BLOCK // share.threads, rows), 1)
    threads = share.threads * per_block
    view = RowView(
        head(writer, name, threads), start, stages, share.parts, writer.count(share.threads),
        writer.count(chunks), share.parts * share.threads != chunks, shared, share.threads // 32,
        min(share.threads, 32) // 2, rows % per_block != 0,
        writer.count(rows), writer.count(per_block),
    )  # fmt: skip
    who = f"a block of {threads}" if shared else "a warp" if share.threads == 32 else f"{share.threads} lanes"
    kept = " in shared memory" if share.in_shared else f", {share.parts} unrolled" if share.parts else ", looped"
    schedule = f"{who} a row of {row}{kept}" + (f", packs of {width}" if width > 1 else "")
    return Entry(
        name, render_template("cuda/row.j2", k=view), (ceil_div(rows, per_block), 1, 1),
        (share.threads, per_block, 1), shared_bytes, alignments(kernel, packs.values()), schedule=schedule,
    )  # fmt: skip


def _rows_lie_apart(body: Sequence[Stmt], variables: Sequence[Var], row: int) -> bool:
    """Whether rows are contiguous and do not overlap: lanes should then go along them, short as they are."""
    loads = [
        (inner, v[-1])
        for v, nest in (loop_nest(s) for s in body if isinstance(s, Loop))
        for inner in certain_loads(nest)
        if v
    ]
    apart = [x for x, last in loads if stride(x.index, last) == 1 and (stride(x.index, variables[-1]) or 0) >= row]
    return row >= 8 and bool(apart) if variables else False


def column_entry(kernel: Kernel, name: str) -> Entry:
    """A function that reduces strided elements: neighbouring threads take neighbouring columns."""
    variables, body = peel(kernel.body)
    space = row_space(body, kernel)
    columns, row = extent(variables), extent(space)
    if _rows_lie_apart(body, variables, row):
        return row_entry(kernel, name)
    if row <= SHORT:
        return map_entry(kernel, name)
    width = min(32, 1 << max(columns - 1, 0).bit_length())
    words = scratch_words(body)
    height = next((h for h in (8, 16, 32) if ceil_div(row, h) <= UNROLLED), 32) * (32 // width)
    height = min(height, 1024 // width)
    parts = ceil_div(row, height)
    if parts * max(words, 1) > MOST_KEPT and words:
        return row_entry(kernel, name)
    parts = parts if words or parts <= UNROLLED // 4 else 0
    writer = Writer(kernel)
    ragged = columns % width != 0
    writer.store_guard = "live" if ragged else ""
    declared, _ = _scratch(body, writer, Share(height, parts), 1)
    packs = {place: Packs() for place, s in enumerate(body) if isinstance(s, Loop)}
    once = "thread == 0 && live" if ragged else "thread == 0"
    stages = _stages(writer, body, packs, "part", once, "__syncthreads();")
    start = lines((*writer.unflatten("column", variables), *declared))
    view = ColumnView(
        head(writer, name, width * height), start, stages,
        parts, writer.count(height), writer.count(row), parts * height != row, ragged, width, height,
        writer.count(columns), writer.count(max(columns - 1, 0)), writer.count(width),
    )  # fmt: skip
    schedule = f"{width} columns by {height} threads a block, {row} elements a column"
    return Entry(
        name, render_template("cuda/column.j2", k=view), (ceil_div(columns, width), 1, 1),
        (width, height, 1), 0, alignments(kernel, ()), schedule=schedule,
    )  # fmt: skip
