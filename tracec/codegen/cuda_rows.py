"""Reductions of rows: some lanes, a warp or a block each; every thread gets the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel, streams_of_rows
from tracec.codegen.cuda_anew import LEAST_COST, computed_anew
from tracec.codegen.cuda_chunk import write_chunk
from tracec.codegen.cuda_clusters import own_size, place_row, place_several
from tracec.codegen.cuda_entry import Entry, Head, alignments, ceil_div, head, lines
from tracec.codegen.cuda_held import Hold, Holder, hold_near
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_registers import FEW_REGISTERS, live_words, uses
from tracec.codegen.cuda_share import LARGEST, Share, row_share
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

WARPS_OF_BLOCK = 4
#: Bytes that a thread has on their way in a round of a loop.
IN_FLIGHT = 64
#: Dynamic shared memory.
SCRATCH = "extern __shared__ __align__(16) unsigned char scratch[];"
#: The lanes of a whole warp.
ALL_LANES = "0xffffffffu"
#: All threads of a cluster wait for each other, and what they have done before is done.
CLUSTER_BARRIER = "cluster_fence(); cluster_arrive(); cluster_wait();"


@dataclass(frozen=True, slots=True)
class Deal:
    """How a loop's chunks are dealt out to the threads that share it.

    Attributes:
        rounds: Iterations of a loop in which every thread takes ``unroll`` chunks; empty for none.
        unroll: Chunks of a round: their loads are in flight together.
        tail: Chunks of each thread after that, unrolled.
        first: The first chunk of the tail.
        guarded: Whether not every thread has all chunks of the tail.
        thread: Which of the threads a thread is.
        own: Threads of a block, where those of several share the row: chunks that are its own are counted by ``own``.
        own_first: The first of these of the tail.
        surely: What of the tail every thread has, where a compiler does not see it.
    """

    rounds: str
    unroll: int
    tail: int
    first: str
    guarded: bool
    thread: str = "thread"
    own: str = ""
    own_first: str = ""
    surely: str = ""


def deal(writer: Writer, chunks: int, share: Share, unroll: int, own: bool = False) -> Deal:
    """Chunks for the threads that share them.

    The number of rounds is a literal, or an argument: a compiler that has to unroll by itself runs what is left over
    one by one.

    Args:
        writer: Writes the kernel.
        chunks: How many there are.
        share: The threads.
        unroll: Chunks of a round; 0 makes all of it tail.
        own: Whether they are numbered among a block's own, too, where blocks share them.
    """
    threads = share.threads
    rounds = chunks // (threads * unroll) if unroll else 0
    first = rounds * unroll * threads
    if is_varying(chunks):
        return Deal(str(rounds), unroll, unroll, writer.count(first), guarded=True)
    tail = ceil_div(chunks - first, threads)
    guarded = first + tail * threads != chunks
    if share.blocks == 1:
        return Deal(str(rounds or ""), unroll, tail, writer.count(first), guarded)
    found = Deal(str(rounds or ""), unroll, tail, writer.count(first), guarded, "place")
    if own:
        found = replace(found, own=writer.count(share.each), own_first=writer.count(first // share.blocks))
    return replace(found, surely=f"part < {tail - 1} || " if tail > 1 else "")


def unrolling(body: Sequence[Stmt], memory: Mapping[str, DType], packs: Packs, in_flight: int = IN_FLIGHT) -> int:
    """Chunks of a round such that some 64 bytes of each thread, or as many as are asked for, are in flight."""
    loads = dict.fromkeys((x.buffer, x.index) for x in certain_loads(body) if x.buffer in memory)
    nbytes = sum(memory[x[0]].itemsize * (packs.width if x in packs.loads else 1) for x in loads)
    return next((n for n in (16, 8, 4, 2) if n * nbytes <= in_flight * rung().in_flight // 100), 1)


@dataclass(frozen=True, slots=True)
class Stage:
    """A loop over the row, dealt out to threads, or what every thread does between two.

    Attributes:
        body: Of a loop, one chunk.
        deal: Of a loop, its chunks.
        accs: Accumulators to combine across threads after the loop.
        shared: Whether all threads need what they combine to, in loops to come.
        guard: Condition under which a thread takes part in the loop; empty for always.
        blocks: Blocks of a cluster that combine theirs after that; 0 for none.
        begins: Whether they do so for the first time.
    """

    body: tuple[str, ...]
    deal: Deal | None = None
    accs: tuple[Accumulator, ...] = ()
    shared: bool = True
    guard: str = ""
    blocks: int = 0
    begins: bool = False


@dataclass(frozen=True, slots=True)
class RowView:
    """What ``row.j2`` and ``row_stages.j2`` need.

    Attributes:
        cluster: Blocks that share a row, where there are several; 0 for one.
        block_threads: Threads of each.
    """

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
    cluster: int = 0
    block_threads: str = ""


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
    memory = writer.memory
    before: set[tuple[str, Expr]] | None = None
    for place, stmt in enumerate(body):
        if isinstance(stmt, Loop):
            variables, inner = loop_nest(stmt)
            whole = extent(variables) // packs[place].width
            slot = share.own if share.in_shared else "part"
            split = holder.hold.split if holder is not None else 0
            chunk = write_chunk(writer, variables, inner, packs[place], slot)
            if holder is not None:
                chunk = (*holder.taken(place, "near" if split else ""), *chunk)
                stages += _fetches(writer, holder, place, whole, share)
            accs = dict.fromkeys(s.name for s in walk(inner) if isinstance(s, Update))
            near = holder is not None and not share.parts  # loads take no long way
            unroll = 0 if share.parts else 2 if near else unrolling(inner, memory, packs[place])
            dealt = deal(writer, whole, share, unroll, own=share.in_shared or holder is not None)
            reads = {at for at in _reads(inner, memory) if at not in writer.held}
            reads = reads if packs[place].width == 1 else reads & {*packs[place].loads}
            if before is not None and is_tight(share) and not share.in_shared:
                chunk = (*_forgotten(writer, inner, packs[place].width), *chunk)
            if before is not None and is_tight(share) and not reads & before:
                again = f"{dealt.thread}_again{place}"
                stages.append(Stage((f"{writer.flat} {again} = {dealt.thread};", f"forget({again});")))
                dealt = replace(dealt, thread=again)
            before = (before or set()) | reads
            if holder is not None and split:
                stages.append(Stage(lines(chunk), _first_parts(dealt, split)))
                if waits := holder.awaited(place):
                    stages.append(Stage(lines(waits)))
                chunk = write_chunk(holder.beyond(), variables, inner, packs[place], "own")
                chunk = (*holder.taken(place, "far"), *chunk)
                dealt = _other_parts(writer, whole, share, split, 4 * rung().in_flight // 100, dealt.thread)
            blocks = share.blocks if share.blocks > 1 and accs else 0
            begins = blocks > 0 and not any(s.blocks for s in stages)
            combined = tuple(writer.accumulator(a) for a in accs)
            stages.append(Stage(lines(chunk), dealt, combined, blocks=blocks, begins=begins))
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


def _fetches(writer: Writer, holder: Holder, place: int, chunks: int, share: Share) -> Iterator[Stage]:
    """Asks for what the loop at a place is the first to read of what is held."""
    split = holder.hold.split
    if fetched := holder.fetched(place, "near" if split else ""):
        dealt = deal(writer, chunks, share, 0 if share.parts else 4, own=True)
        if split:
            yield Stage(
                lines(holder.fetched(place, "far")), _other_parts(writer, chunks, share, split, 4, dealt.thread)
            )
            dealt = _first_parts(dealt, split)
        yield Stage(lines(fetched), dealt)
        if not split and (waits := holder.awaited(place)):
            yield Stage(lines(waits))


def _first_parts(dealt: Deal, parts: int) -> Deal:
    """Of chunks that are all tail the first ones of each thread, which every thread has."""
    return replace(dealt, tail=parts, guarded=False, surely="")


def _other_parts(writer: Writer, chunks: int, share: Share, parts: int, unroll: int, thread: str) -> Deal:
    """The chunks of each thread behind its first ones, in rounds; ``own`` counts these alone."""
    found = deal(writer, chunks - parts * share.threads, share, max(unroll, 1), own=True)
    if share.blocks == 1:
        found = replace(found, own=writer.count(share.threads), own_first=found.first)
    return replace(found, thread=f"{writer.count(parts * share.threads)} + {thread}")


def is_tight(share: Share) -> bool:
    """Whether threads that have few registers each keep packs of a row there."""
    return share.parts > 0 and share.registers <= FEW_REGISTERS


def _forgotten(writer: Writer, body: tuple[Stmt, ...], width: int) -> Iterator[Tree]:
    """Lets a compiler know nothing of what a loop has left in scratch: what both compute of it would be kept, too."""
    names = {x.buffer: None for s in body for e in expressions(s) for x in subexpressions(e) if isinstance(x, Load)}
    for name in names.keys() & writer.arrays.keys():
        text = f"forget({writer.name(name)}[part * {width} + e]);"
        guard = f"if ({writer.far[0]}) " if writer.far is not None else ""
        yield Block(f"for (int e = 0; e < {width}; ++e)", (Line(guard + text),), ("unroll",))


def _reads(body: tuple[Stmt, ...], memory: Mapping[str, DType]) -> Iterator[tuple[str, Expr]]:
    """What is read of memory, and where."""
    for stmt in walk(body):
        for root in expressions(stmt):
            yield from ((e.buffer, e.index) for e in subexpressions(root) if isinstance(e, Load) and e.buffer in memory)


def row_packs(writer: Writer, body: Sequence[Stmt]) -> dict[int, Packs]:
    """Packs of each loop, all of one width, since scratch ties their iterations together."""
    memory = {b.name: b.dtype for b in writer.kernel.buffers}
    loops = {place: loop_nest(s) for place, s in enumerate(body) if isinstance(s, Loop)}
    found = {place: find_packs(inner, v[-1], memory) for place, (v, inner) in loops.items()}
    width = min((p.width for p in found.values() if p.width > 1), default=1)
    return {place: find_packs(inner, v[-1], memory, width) for place, (v, inner) in loops.items()}


def waits_later(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Statements of a row in an order in which nothing waits for one number before the row itself is asked for.

    What depends on a number from memory, such as another number from a place that it tells, moves behind the first loop
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


def _scratch(
    body: Sequence[Stmt], writer: Writer, share: Share, width: int, chunks: int
) -> tuple[tuple[Tree, ...], int]:
    """Declarations of scratch, and the bytes of shared memory that they take."""
    lines: list[Tree] = []
    size = own_size(share, width, chunks)
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
            offset += -(-min(stmt.size, size) * stmt.dtype.itemsize // 16) * 16
            continue
        lines.append(Line(f"{kind} {name}[{max((share.parts - share.far) * width, 1)}];"))
        if share.far:
            if not offset:
                lines.append(Line(SCRATCH))
            lines.append(Line(f"{kind} *const {name}_far = reinterpret_cast<{kind} *>(scratch + {offset});"))
            offset += -(-share.far * width * share.each * stmt.dtype.itemsize // 16) * 16
    return tuple(lines), offset


class Row:
    """A kernel of rows, and how its loops go over one.

    Args:
        kernel: The kernel.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.writer = kernel, Writer(kernel)
        self.variables, body = peel(kernel.body)
        self.body = waits_later(body)
        self.space = row_space(self.body, kernel)
        self.packs = row_packs(self.writer, self.body)
        self.width = max((p.width for p in self.packs.values()), default=1)
        self.rows, self.length = extent(self.variables), extent(self.space)

    @property
    def chunks(self) -> int:
        """Packs of a row."""
        return self.length // self.width

    def shared(self) -> tuple[Share, Hold | None]:
        """Who shares a row, and what is held of what is read of it."""
        writer, body, packs = self.writer, self.body, self.packs
        words = scratch_words(body)
        read = [writer.buffers[b].itemsize for p in packs.values() for b, _ in p.loads]
        again = sum(isinstance(s, Loop) for s in body) > 1
        wide = any(s.dtype.itemsize > 4 for s in body if isinstance(s, Scratch))
        live = 0 if wide else live_words(uses(body, packs), packs)
        streams = streams_of_rows({n: b.itemsize for n, b in writer.buffers.items()}, packs, self.variables)
        nbytes = self.width * max(read, default=4)
        share = row_share(self.rows, self.length, self.width, words, live, nbytes, again, streams)
        share, hold = place_row(writer, body, packs, self.rows, self.chunks, share, live, words)
        if self.width > 1 and is_tight(share) and hold is None:
            hold = hold_near(writer, body, packs, share.parts)
        return share, hold

    def several(self) -> tuple[Row, Share, Hold] | None:
        """The same for blocks of which a multiprocessor has several; None for no such way."""
        scratch = scratch_words(self.body) > 0
        tried = (
            (computed_anew(self.kernel, LEAST_COST), self.kernel, computed_anew(self.kernel))
            if scratch
            else (self.kernel,)
        )
        for kernel in tried:
            row = None if kernel is None else Row(kernel)
            found = row and place_several(row.writer, row.body, row.packs, row.chunks)
            if row and found:
                return row, *found
        return None


def row_entry(kernel: Kernel, name: str) -> Entry:
    """A function in which a warp or a block computes one row."""
    row = Row(kernel)
    share, hold = row.shared()
    found = row.several() if is_long(share, hold) and plain(row.rows) * share.blocks > MULTIPROCESSORS else None
    row, share, hold = found or (row, share, hold)
    writer, body, packs, width, chunks = row.writer, row.body, row.packs, row.width, row.chunks
    variables, rows = row.variables, row.rows
    shared = share.threads > 32 or (hold is not None and hold.shared_bytes > 0)
    kept = {h.scratch for h in hold.loads} if hold is not None else set[str]()
    declared, shared_bytes = _scratch(
        [s for s in body if not isinstance(s, Scratch) or s.name not in kept], writer, share, width, chunks
    )
    holder = None
    if hold is not None:
        holder = Holder(writer, hold, row.space, chunks, width, shared_bytes, share)
        if hold.shared_bytes and not shared_bytes:
            declared = (*declared, Line(SCRATCH))
        declared, shared_bytes = (*declared, *holder.declared()), shared_bytes + hold.shared_bytes
    if shared_bytes > room():
        raise CompileError(f"kernel {kernel.name}: a row keeps {shared_bytes} bytes, a block has {room()}")
    if share.far:
        near = share.parts - share.far
        writer.far = f"part < {near}", f"(part - {near}) * {writer.count(share.each)} + thread"
    start = lines((*writer.unflatten("row", variables), *declared))
    several = share.blocks > 1
    barrier = CLUSTER_BARRIER if several else "__syncthreads();" if shared else "__syncwarp();"
    stages = share_stages(writer, body, packs, share, "place == 0" if several else "thread == 0", barrier, holder)
    per_block = 1 if shared else 32 * WARPS_OF_BLOCK // share.threads
    if not shared and not is_varying(rows):
        per_block = max(min(per_block, rows), 1)
    threads = share.each * per_block
    view = RowView(
        replace(head(writer, name, threads), blocks=share.resident, cluster=share.blocks if several else 0), start,
        stages, writer.count(share.threads), writer.count(chunks), shared, share.each // 32,
        min(share.threads, 32) // 2, is_varying(rows) or rows % per_block != 0,
        writer.count(rows), writer.count(per_block), cluster=share.blocks if several else 0,
        block_threads=writer.count(share.each),
    )  # fmt: skip
    schedule = _in_words(share, threads, row.length, hold) + (f", packs of {width}" if width > 1 else "")
    return Entry(
        name, render_template("cuda/row.j2", k=view), (ceil_div(rows, per_block) * share.blocks, 1, 1),
        (share.each, per_block, 1), shared_bytes, alignments(kernel, packs.values()), schedule=schedule,
    )  # fmt: skip


def is_long(share: Share, hold: Hold | None) -> bool:
    """Whether a row takes a block that has a multiprocessor for itself, or several blocks."""
    return share.each >= LARGEST or share.blocks > 1 or share.in_shared or (hold is not None and not hold.parts)


def _in_words(share: Share, threads: int, row: int, hold: Hold | None) -> str:
    """Who computes a row, and what of it is kept where."""
    shared = share.threads > 32
    who = f"a block of {threads}" if shared else "a warp" if share.threads == 32 else f"{share.threads} lanes"
    who = f"a cluster of {share.blocks} blocks of {threads}" if share.blocks > 1 else who
    kept = " in shared memory" * share.in_shared
    kept += f", {share.parts} unrolled" if share.parts else "" if share.in_shared else ", looped"
    kept += f", {share.far} in shared memory" if share.far else ""
    kept += f", {len(hold.loads)} held" if hold else ""
    return f"{who} a row of {row}{kept}"
