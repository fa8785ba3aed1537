"""Where a row that several loops read is kept: by one block, or by a cluster of blocks where it is too long for one.

The blocks of a cluster deal out a row among all of their threads. Each reduces what its threads have, writes the result
to the shared memory of all of them, and all combine these results in the order of the blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import Packs
from tracec.codegen.cuda_entry import ceil_div
from tracec.codegen.cuda_held import Hold, find_hold
from tracec.codegen.cuda_ladder import allowed, rung
from tracec.codegen.cuda_registers import FEW_REGISTERS
from tracec.codegen.cuda_share import LARGEST, OF_CLUSTER, Share, cluster_share
from tracec.codegen.cuda_writer import Writer
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Loop, Scratch, Stmt
from tracec.ir.room import most_blocks, room, row_room

#: Words of a row that each of 1024 threads may hold next to what it computes.
HELD_WORDS = 24

#: Bytes of a pack, at least, where loops over a row are not unrolled: what they count would take longer than the rest.
LEAST_PACK = 8


@dataclass(frozen=True, slots=True)
class Residents:
    """Blocks that a multiprocessor has at a time: while one waits for its row or its cluster, others compute.

    Attributes:
        threads: Of each.
        blocks: How many they are.
        words: Of a row, that each thread may hold in registers.
        room: What a block may take of the shared memory that one alone may have, in percent, where multiprocessors have
            228 KB, as those that have clusters do.
        most: Blocks that share a row, at most.
    """

    threads: int
    blocks: int
    words: int
    room: int
    most: int


#: What is tried for a long row, in this order. Rows of up to 64 KB are all in shared memory, and registers are enough
#: for three blocks; of longer ones two blocks have up to 128 KB each, or a little more, in registers and shared memory.
#: An H200 moves 64 KB in and out of a multiprocessor in 4 µs, and a block of a cluster had it for 9: it waits for its
#: row, for its cluster and for what it writes, and others take its place meanwhile.
RESIDENTS = (Residents(512, 3, 0, 44, 1), Residents(512, 2, 32, 68, 8))


def own_size(share: Share, width: int, chunks: int) -> int:
    """Elements of a row that each of the blocks that share it has, at most."""
    return ceil_div(chunks, share.threads) * share.each * width


def place_row(
    writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], rows: int, chunks: int, share: Share, live: int,
    words: int,
) -> tuple[Share, Hold | None]:  # fmt: skip
    """Who shares a row, and what is held of what is read of it.

    Args:
        writer: Writes the kernel.
        body: Statements of one row.
        packs: Of each loop, by its place.
        rows: How many rows there are.
        chunks: Packs of a row.
        share: One block's threads.
        live: Registers for each element that is kept.
        words: Of these, registers of scratch.
    """
    if share.parts or is_varying(chunks):
        return share, None
    width = max((p.width for p in packs.values()), default=1)
    kept = _scratch_bytes(body, chunks * width)
    if kept <= row_room(room()):
        for threads in _at_most(LARGEST, LARGEST // 2):
            tried = Share(threads, 0)
            hold = find_hold(writer, body, packs, chunks, (_words(tried), room() - kept), tried)
            if hold is not None:
                several = not hold.parts and kept + hold.shared_bytes <= room() // 2  # blocks of a multiprocessor
                return Share(LARGEST // 2 if several else threads, hold.parts, in_shared=kept > 0), hold
    if most_blocks() == 1 or not (kept > row_room(room()) or (not kept and _fits(writer, body, packs, chunks * width))):
        return share, None
    found = cluster_share(rows, chunks, width, live, words) if kept else None
    return (found, None) if found is not None else _in_shared(writer, body, packs, chunks, width)


def place_several(
    writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], chunks: int
) -> tuple[Share, Hold] | None:
    """Who shares a row of which a block has so little that a multiprocessor has several blocks; None for no such way.

    What a block has of the row is in registers as far as these go, the rest in shared memory.

    Args:
        writer: Writes the kernel.
        body: Statements of one row, with one array of scratch at most, which takes the place of a load.
        packs: Of each loop, by its place.
        chunks: Packs of a row.
    """
    scratch = [s.name for s in body if isinstance(s, Scratch)]
    widths = [p.width * writer.buffers[b].itemsize for p in packs.values() for b, _ in p.loads]
    if is_varying(chunks) or len(scratch) > 1 or min(widths, default=0) < LEAST_PACK:
        return None
    for way in RESIDENTS:
        left = allowed(way.words * rung().near // 100), room() * min(way.room, _most_room(way)) // 100
        blocks = 1
        while blocks <= min(most_blocks(), way.most):
            share = Share(way.threads * blocks, 0, blocks=blocks, resident=way.blocks)
            hold = find_hold(writer, body, packs, chunks, left, share, True, "".join(scratch))
            if hold is not None:
                return replace(share, parts=hold.parts, in_shared=bool(scratch) and not hold.parts), hold
            blocks *= 2
    return None


def _most_room(way: Residents) -> int:
    """What each of a multiprocessor's blocks may have of its shared memory, in percent."""
    return 100 if most_blocks() > 1 else 100 // way.blocks


def _in_shared(
    writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], chunks: int, width: int
) -> tuple[Share, Hold | None]:
    """The smallest cluster that holds all of a row that is read again, or else the smallest that has its scratch.

    Its blocks have half of a multiprocessor each, or all of it: with as many threads as there can be, or with half as
    many where these have too few registers.
    """
    scratch = any(isinstance(s, Scratch) for s in body)
    found: Share | None = None
    sizes = ((2, OF_CLUSTER), (4, OF_CLUSTER), (8, OF_CLUSTER), (most_blocks(), LARGEST), (most_blocks(), LARGEST // 2))
    for number, (blocks, threads) in enumerate(sizes):
        if threads not in _at_most(threads, LARGEST // 2):
            continue
        share = Share(threads * blocks, 0, in_shared=scratch, blocks=blocks, resident=1 if number > 2 else 2)
        kept = _scratch_bytes(body, own_size(share, width, chunks))
        left = room() // share.resident - kept
        if left < 0:
            continue
        hold = find_hold(writer, body, packs, chunks, (_words(share), left), share)
        if hold is not None:
            return replace(share, parts=hold.parts), hold
        found = found or (share if scratch else None)
    return found or share, None


def _at_most(*threads: int) -> tuple[int, ...]:
    """Of these, those that a block may have; the last one in any case."""
    return (*(t for t in threads[:-1] if t <= rung().threads), threads[-1])


def _fits(writer: Writer, body: Sequence[Stmt], packs: Mapping[int, Packs], row: int) -> bool:
    """Whether a row that several loops read is too long for a block, and the blocks of a cluster have room for it."""
    sizes = [writer.buffers[b].itemsize for p in packs.values() for b, _ in p.loads]
    several, nbytes = sum(isinstance(s, Loop) for s in body) > 1, row * min(sizes, default=4)
    return several and row_room(room()) < nbytes <= most_blocks() * row_room(room())


def _words(share: Share) -> int:
    """Words of each thread's registers for what is held."""
    return allowed(HELD_WORDS * share.registers // FEW_REGISTERS)


def _scratch_bytes(body: Sequence[Stmt], most: int) -> int:
    """Bytes that scratch takes, of so many elements of a row at most."""
    return sum(-(-min(s.size, most) * s.dtype.itemsize // 16) * 16 for s in body if isinstance(s, Scratch))
