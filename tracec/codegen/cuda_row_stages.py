"""What the threads that share a row do of it, one stage after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs, certain_loads, extent
from tracec.codegen.cuda_chunk import write_chunk
from tracec.codegen.cuda_entry import ceil_div, lines
from tracec.codegen.cuda_held import Holder
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_registers import FEW_REGISTERS
from tracec.codegen.cuda_row_body import loop_nest
from tracec.codegen.cuda_share import Share
from tracec.codegen.cuda_writer import Accumulator, Writer
from tracec.codegen.tree import Block, Line, Tree
from tracec.ir.dtype import DType
from tracec.ir.extent import is_varying
from tracec.ir.kernel import (
    Expr,
    Load,
    Loop,
    Scratch,
    Stmt,
    Store,
    Update,
    expressions,
    subexpressions,
    walk,
)  # fmt: skip

#: Bytes that a thread has on their way in a round of a loop.
IN_FLIGHT = 64


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
    before: set[tuple[str, Expr]] = set()
    for place, stmt in enumerate(body):
        if isinstance(stmt, Loop):
            *first, last = _loop(writer, stmt, place, packs, share, holder, before)
            stages += [*first, replace(last, begins=last.blocks > 0 and not any(s.blocks for s in stages))]
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


def _loop(
    writer: Writer, loop: Loop, place: int, packs: dict[int, Packs], share: Share, holder: Holder | None,
    before: set[tuple[str, Expr]],
) -> Iterator[Stage]:  # fmt: skip
    """A loop over the row, after what it has to ask for; ``before`` is what loops have read of memory before it."""
    variables, inner = loop_nest(loop)
    whole, width = extent(variables) // packs[place].width, packs[place].width
    split = holder.hold.split if holder is not None else 0
    chunk = write_chunk(writer, variables, inner, packs[place], share.own if share.in_shared else "part")
    if holder is not None:
        chunk = (*holder.taken(place, "near" if split else ""), *chunk)
        yield from _fetches(writer, holder, place, whole, share)
    near = holder is not None and not share.parts  # loads take no long way
    unroll = 0 if share.parts else 2 if near else unrolling(inner, writer.memory, packs[place])
    dealt = deal(writer, whole, share, unroll, own=share.in_shared or holder is not None)
    reads = {at for at in _reads(inner, writer.memory) if at not in writer.held}
    reads = reads if width == 1 else reads & {*packs[place].loads}
    later = place > min(packs) and is_tight(share)
    if later and not share.in_shared:
        chunk = (*_forgotten(writer, inner, width), *chunk)
    if later and not reads & before:
        again = f"{dealt.thread}_again{place}"
        yield Stage((f"{writer.flat} {again} = {dealt.thread};", f"forget({again});"))
        dealt = replace(dealt, thread=again)
    before |= reads
    if holder is not None and split:
        yield Stage(lines(chunk), _first_parts(dealt, split))
        if waits := holder.awaited(place):
            yield Stage(lines(waits))
        chunk = (*holder.taken(place, "far"), *write_chunk(holder.beyond(), variables, inner, packs[place], "own"))
        dealt = _other_parts(writer, whole, share, split, 4 * rung().in_flight // 100, dealt.thread)
    accs = tuple(writer.accumulator(a) for a in dict.fromkeys(s.name for s in walk(inner) if isinstance(s, Update)))
    yield Stage(lines(chunk), dealt, accs, blocks=share.blocks if share.blocks > 1 and accs else 0)


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
    read = (x.buffer for s in body for e in expressions(s) for x in subexpressions(e) if isinstance(x, Load))
    for name in dict.fromkeys(name for name in read if name in writer.arrays):
        text = f"forget({writer.name(name)}[part * {width} + e]);"
        guard = f"if ({writer.far[0]}) " if writer.far is not None else ""
        yield Block(f"for (int e = 0; e < {width}; ++e)", (Line(guard + text),), ("unroll",))


def _reads(body: tuple[Stmt, ...], memory: Mapping[str, DType]) -> Iterator[tuple[str, Expr]]:
    """What is read of memory, and where."""
    for stmt in walk(body):
        for root in expressions(stmt):
            yield from ((e.buffer, e.index) for e in subexpressions(root) if isinstance(e, Load) and e.buffer in memory)
