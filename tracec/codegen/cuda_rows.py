"""Reductions of rows: some lanes, a warp or a block each; every thread gets the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel, streams_of_rows
from tracec.codegen.cuda_chunk import write_chunk
from tracec.codegen.cuda_entry import Entry, Head, alignments, ceil_div, head, lines
from tracec.codegen.cuda_held import THREADS, Hold, Holder, find_hold
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.render import render_template
from tracec.codegen.tree import Block, Line, Tree
from tracec.errors import CompileError
from tracec.ir import index as ix
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import (
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
    Var,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip
from tracec.ir.room import room

#: A warp takes a row of up to this many elements,
WARP_ROW = 1024
#: and of no more than this many where there are too few rows to fill a GPU with warps.
WARP_ROW_OF_FEW = 256
FEW_ROWS = 512
WARPS_OF_BLOCK = 4
#: Threads of a block → 32-bit words of a row that each may keep in registers.
KEPT_WORDS = {128: 32, 256: 32, 512: 24}
#: Words that each of 1024 threads may have, half of its registers: kept ones and those that it loads for several loops.
#: Fewer where it loads them one by one, each from an address of its own.
LIVE_WORDS = 32
#: Words of a row that each of 1024 threads may hold next to what it computes: of packs of four elements, and of wider
#: ones, of which more is on its way through registers; and of these where what is kept passes through, too.
HELD_WORDS, HELD_WIDE, HELD_BESIDE = 24, 16, 8
#: Packs that a thread reads before it waits, where it keeps none of them.
MOST_PACKS = 8
#: Bytes that a thread has on their way in a round of a loop.
IN_FLIGHT = 64
#: Bytes that lanes side by side read in one piece, at least: two sectors.
LEAST_PIECE = 64
#: Threads that have enough loads in flight to use the memory's bandwidth: half of an H100's.
MANY_THREADS = 1024 * MULTIPROCESSORS
#: Dynamic shared memory.
SCRATCH = "extern __shared__ __align__(16) unsigned char scratch[];"
#: The lanes of a whole warp.
ALL_LANES = "0xffffffffu"
#: Threads of a block that loops over a row → rows that fill a GPU with such blocks: small ones end more evenly.
ROWS_OF_BLOCKS = {256: 1024, 512: 512}


@dataclass(frozen=True, slots=True)
class Deal:
    """How a loop's chunks are dealt out to the threads that share it.

    Attributes:
        rounds: Iterations of a loop in which every thread takes ``unroll`` chunks; empty for none.
        unroll: Chunks of a round: their loads are in flight together.
        tail: Chunks of each thread after that, unrolled.
        first: The first chunk of the tail.
        guarded: Whether not every thread has all chunks of the tail.
    """

    rounds: str
    unroll: int
    tail: int
    first: str
    guarded: bool


def deal(writer: Writer, chunks: int, threads: int, unroll: int) -> Deal:
    """Chunks for so many threads; with no unrolling given, all of it is tail.

    The number of rounds is a literal, or an argument: a compiler that has to unroll by itself runs what is left over
    one by one.
    """
    rounds = chunks // (threads * unroll) if unroll else 0
    first = rounds * unroll * threads
    if is_varying(chunks):
        return Deal(str(rounds), unroll, unroll, writer.count(first), guarded=True)
    tail = ceil_div(chunks - first, threads)
    return Deal(str(rounds or ""), unroll, tail, writer.count(first), first + tail * threads != chunks)


def unrolling(body: Sequence[Stmt], memory: Mapping[str, DType], packs: Packs, in_flight: int = IN_FLIGHT) -> int:
    """Chunks of a round such that some 64 bytes of each thread, or as many as are asked for, are in flight."""
    loads = dict.fromkeys((x.buffer, x.index) for x in certain_loads(body) if x.buffer in memory)
    nbytes = sum(memory[x[0]].itemsize * (packs.width if x in packs.loads else 1) for x in loads)
    return next((n for n in (16, 8, 4, 2) if n * nbytes <= in_flight), 1)


@dataclass(frozen=True, slots=True)
class Stage:
    """A loop over the row, dealt out to threads, or what every thread does between two.

    Attributes:
        body: Of a loop, one chunk.
        deal: Of a loop, its chunks.
        accs: Accumulators to combine across threads after the loop.
        shared: Whether all threads need what they combine to, in loops to come.
        guard: Condition under which a thread takes part in the loop; empty for always.
    """

    body: tuple[str, ...]
    deal: Deal | None = None
    accs: tuple[Accumulator, ...] = ()
    shared: bool = True
    guard: str = ""


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
    """What ``row.j2`` and ``row_stages.j2`` need."""

    head: Head
    start: tuple[str, ...]
    stages: tuple[Stage, ...]
    share: str
    chunks: str
    warps_share: bool
    warps: int
    first_step: int
    ragged: bool
    rows: str
    block_rows: str
    copies: str = ""
    copy: str = ""
    mask: str = ALL_LANES


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


def share_stages(
    writer: Writer, body: Sequence[Stmt], packs: dict[int, Packs], share: Share, once: str, barrier: str,
    holder: Holder | None = None,
) -> tuple[Stage, ...]:  # fmt: skip
    """The row's statements by who does them.

    Args:
        writer: Writes the kernel.
        body: Statements of one row, scratch left out.
        packs: Of each loop, by its place in the body.
        share: How the row is shared.
        once: Condition under which a thread stores the row's own results.
        barrier: Waits for all threads that share the row.
        holder: What is held of the row.
    """
    stages: list[Stage] = []
    results: list[Store] = []
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    for place, stmt in enumerate(body):
        if isinstance(stmt, Loop):
            variables, inner = loop_nest(stmt)
            slot = "chunk" if share.in_shared else "part"
            chunk = write_chunk(writer, variables, inner, packs[place], slot)
            if holder is not None:
                chunk = (*holder.taken(place), *chunk)
                if fetched := holder.fetched(place):
                    whole = extent(variables) // packs[place].width
                    stages.append(Stage(lines(fetched), deal(writer, whole, share.threads, 0 if share.parts else 4)))
            accs = dict.fromkeys(s.name for s in walk(inner) if isinstance(s, Update))
            near = holder is not None and not share.parts  # loads take no long way
            unroll = 0 if share.parts else 2 if near else unrolling(inner, memory, packs[place])
            dealt = deal(writer, extent(variables) // packs[place].width, share.threads, unroll)
            stages.append(Stage(lines(chunk), dealt, tuple(writer.accumulator(a) for a in accs)))
        elif isinstance(stmt, Store):
            results.append(stmt)
        elif not isinstance(stmt, Scratch):
            stages.append(Stage(lines(writer.statement(stmt))))
    if results:  # nothing reads them in the kernel, so that one branch at the end serves all
        plain = writer.derive({})
        plain.store_guard = ""
        in_place = {b.name for b in writer.kernel.buffers if b.role == "inout"} & {s.buffer for s in results}
        # What they overwrite, every thread of the row may have still to read.
        wait = [Line(barrier)] if in_place else []
        stages.append(Stage(lines([*wait, Block(f"if ({once})", plain.statements(results))])))
    return tuple(stages)


def row_packs(writer: Writer, body: Sequence[Stmt]) -> dict[int, Packs]:
    """Packs of each loop, all of one width, since scratch ties their iterations together."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    loops = {place: loop_nest(s) for place, s in enumerate(body) if isinstance(s, Loop)}
    found = {place: find_packs(inner, v[-1], memory) for place, (v, inner) in loops.items()}
    width = min((p.width for p in found.values() if p.width > 1), default=1)
    return {place: find_packs(inner, v[-1], memory, width) for place, (v, inner) in loops.items()}


def waits_later(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements of a row in an order in which nothing waits for one number before the row itself is asked for.

    What hangs on a number from memory, such as another number from a place that it tells, moves behind the first loop
    where that has no need of it.
    """
    first = next((n for n, s in enumerate(body) if isinstance(s, Loop)), 0)
    loop = body[first] if body else None
    if not isinstance(loop, Loop):
        return tuple(body)
    needed = _names(loop)
    for stmt in reversed(body[:first]):
        if not isinstance(stmt, Let) or stmt.name in needed:
            needed |= _names(stmt)
    loaded: set[str] = set()
    late: list[Let] = []
    for stmt in body[:first]:
        if isinstance(stmt, Let):
            loads = sum(isinstance(e, Load) for e in subexpressions(stmt.value))
            waits = bool(_names(stmt) & loaded) or loads > isinstance(stmt.value, Load)
            if waits or loads:
                loaded.add(stmt.name)
            if waits and stmt.name not in needed:
                late.append(stmt)
    written = {s.buffer for s in walk((loop,)) if isinstance(s, Store)}
    if any(isinstance(e, Load) and e.buffer in written for s in late for e in subexpressions(s.value)):
        return tuple(body)
    return (*(s for s in body[:first] if s not in late), loop, *late, *body[first + 1 :])


def _names(stmt: Stmt) -> set[str]:
    """The names that a statement takes."""
    found = (e for s in walk((stmt,)) for root in expressions(s) for e in subexpressions(root))
    return {e.name for e in found if isinstance(e, Ref)}


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
                lines.append(Line(SCRATCH))
            lines.append(Line(f"{kind} *const {name} = reinterpret_cast<{kind} *>(scratch + {offset});"))
            offset += -(-stmt.size * stmt.dtype.itemsize // 16) * 16
        else:
            lines.append(Line(f"{kind} {name}[{max(share.parts * width, 1)}];"))
    return tuple(lines), offset


def live_words(body: Sequence[Stmt], packs: Mapping[int, Packs]) -> int:
    """Registers for one position that are taken between two loops, at most: scratch, and what is loaded for both."""
    scratch = {s.name for s in body if isinstance(s, Scratch)}
    uses: dict[tuple[str, Expr | None], list[int]] = {}
    for place, found in packs.items():
        statements = list(walk(loop_nest(body[place])[1]))  # type: ignore[arg-type]
        parts = [x for s in statements for e in expressions(s) for x in subexpressions(e)]
        touched = [(x.buffer, x.index) for x in parts if isinstance(x, Load)]
        touched += [(s.buffer, s.index) for s in statements if isinstance(s, Store) and s.buffer in scratch]
        for buffer, index in touched:
            if buffer in scratch or (buffer, index) in found.loads or found.width == 1:
                uses.setdefault((buffer, None if buffer in scratch else index), []).append(place)
    return max((sum(min(at) < place <= max(at) for at in uses.values()) for place in packs), default=0)


def _row_share(
    rows: int, row: int, width: int, words: int, live: int, pack_bytes: int, again: bool, streams: int
) -> Share:
    """Threads for each of so many rows of so many elements; rows may be more or fewer at another call.

    Args:
        rows: How many rows there are.
        row: Elements of one.
        width: Elements of a pack.
        words: Registers that are kept for each element.
        live: Registers for each element, with those that loads take which several loops read; 0 where a thread has
            none to spare for more elements.
        pack_bytes: Bytes of a pack.
        again: Whether several loops read the row.
        streams: Bytes that all that is as long as the row has of each element, where only later loops read some of
            it: a warp would wait for that once more, with too little on its way; 0 where the first loop reads all.
    """
    rows, chunks = plain(rows), row // width
    if is_varying(row):
        return Share(next((t for t, least in ROWS_OF_BLOCKS.items() if rows >= least), 1024), 0)
    most = WARP_ROW if rows >= FEW_ROWS else WARP_ROW_OF_FEW
    if row * max(words, 1) <= most and row * streams <= 4 * most:
        lanes = min(max(1 << max(chunks - 1, 0).bit_length(), 4), 32)
        while (
            lanes * pack_bytes > LEAST_PIECE
            and rows * lanes >= 2 * MANY_THREADS
            and ceil_div(chunks, lanes // 2) <= MOST_PACKS // 2
            and ceil_div(chunks, lanes // 2) * width * words <= KEPT_WORDS[128]
        ):
            lanes //= 2
        return Share(lanes, max(ceil_div(chunks, lanes), 1))
    if not words:
        threads = next((t for t in (128, 256) if ceil_div(chunks, t) <= MOST_PACKS), 0)
        if threads:
            return _widened(threads, 1024, rows, chunks)
        if again:  # few rows at a time, so that they are still in the cache
            return Share(1024, 0)
        return Share(next((t for t, least in ROWS_OF_BLOCKS.items() if rows >= least), 1024), 0)
    for threads, most in KEPT_WORDS.items():
        if ceil_div(chunks, threads) * width * words <= most:
            return _widened(threads, max(KEPT_WORDS), rows, chunks)
    if 0 < ceil_div(chunks, 1024) * width * live <= (LIVE_WORDS if width > 1 else 3 * LIVE_WORDS // 4):
        return Share(1024, ceil_div(chunks, 1024))
    return Share(512, 0, in_shared=True)


def _widened(threads: int, most: int, rows: int, chunks: int) -> Share:
    """More threads a row where rows are few, so that each ends sooner."""
    while threads < most and 2 * threads * rows <= MANY_THREADS and ceil_div(chunks, threads) > 2:
        threads *= 2
    return Share(threads, ceil_div(chunks, threads))


def _held(
    writer: Writer, body: Sequence[Stmt], packs: dict[int, Packs], chunks: int, share: Share
) -> tuple[Share, Hold | None]:
    """Where registers hold no row of what is computed: what is held of what is read, and by how many threads."""
    if share.parts or is_varying(chunks):
        return share, None
    width = max((p.width for p in packs.values()), default=1)
    kept = sum(-(-s.size * s.dtype.itemsize // 16) * 16 for s in body if isinstance(s, Scratch))
    words = HELD_WORDS if width <= 4 else HELD_BESIDE if kept else HELD_WIDE
    hold = find_hold(writer, body, packs, chunks, (words, room() - kept))
    if hold is None:
        return share, None
    several = not hold.parts and kept + hold.shared_bytes <= room() // 2  # blocks of a multiprocessor
    return Share(THREADS // 2 if several else THREADS, hold.parts, in_shared=kept > 0), hold


def row_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a warp or a block computes one row."""
    variables, body = peel(kernel.body)
    body = waits_later(body)
    space = row_space(body, kernel)
    writer = Writer(kernel)
    words = scratch_words(body)
    packs = row_packs(writer, body)
    width = max((p.width for p in packs.values()), default=1)
    rows, row = extent(variables), extent(space)
    read = [writer.buffers[b].itemsize for p in packs.values() for b, _ in p.loads]
    again = sum(isinstance(s, Loop) for s in body) > 1
    wide = any(s.dtype.itemsize > 4 for s in body if isinstance(s, Scratch))
    live = 0 if wide else live_words(body, packs)
    streams = streams_of_rows({n: b.itemsize for n, b in writer.buffers.items()}, packs, variables)
    share = _row_share(rows, row, width, words, live, width * max(read, default=4), again, streams)
    chunks = row // width
    share, hold = _held(writer, body, packs, chunks, share)
    shared = share.threads > 32
    declared, shared_bytes = _scratch(body, writer, share, width)
    holder = None
    if hold is not None:
        holder = Holder(writer, hold, space, chunks, width, shared_bytes)
        if hold.shared_bytes and not shared_bytes:
            declared = (*declared, Line(SCRATCH))
        declared, shared_bytes = (*declared, *holder.declared()), shared_bytes + hold.shared_bytes
    if shared_bytes > room():
        raise CompileError(f"kernel {kernel.name}: a row keeps {shared_bytes} bytes, a block has {room()}")
    start = lines((*writer.unflatten("row", variables), *declared))
    barrier = "__syncthreads();" if shared else "__syncwarp();"
    stages = share_stages(writer, body, packs, share, "thread == 0", barrier, holder)
    per_block = 1 if shared else 32 * WARPS_OF_BLOCK // share.threads
    if not shared and not is_varying(rows):
        per_block = max(min(per_block, rows), 1)
    threads = share.threads * per_block
    view = RowView(
        head(writer, name, threads), start, stages, writer.count(share.threads),
        writer.count(chunks), shared, share.threads // 32,
        min(share.threads, 32) // 2, is_varying(rows) or rows % per_block != 0,
        writer.count(rows), writer.count(per_block),
    )  # fmt: skip
    who = f"a block of {threads}" if shared else "a warp" if share.threads == 32 else f"{share.threads} lanes"
    kept = " in shared memory" * share.in_shared
    kept += f", {share.parts} unrolled" if share.parts else "" if share.in_shared else ", looped"
    kept += f", {len(hold.loads)} held" if hold else ""
    schedule = f"{who} a row of {row}{kept}" + (f", packs of {width}" if width > 1 else "")
    return Entry(
        name, render_template("cuda/row.j2", k=view), (ceil_div(rows, per_block), 1, 1),
        (share.threads, per_block, 1), shared_bytes, alignments(kernel, packs.values()), schedule=schedule,
    )  # fmt: skip
