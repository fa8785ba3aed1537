"""How many threads share a row: some lanes, a warp, a block, or a cluster of blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tracec.codegen.cuda_entry import ceil_div
from tracec.codegen.cuda_ladder import allowed, rung
from tracec.codegen.cuda_registers import REGISTERS
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.ir.extent import is_varying, plain
from tracec.ir.room import most_blocks, room

#: A warp takes a row of up to this many elements,
WARP_ROW = 1024
#: and of no more than this many where there are too few rows to fill a GPU with warps.
WARP_ROW_OF_FEW = 256
FEW_ROWS = 512
#: Threads of a block → 32-bit words of a row that each may keep in registers.
KEPT_WORDS = {128: 32, 256: 32, 512: 24}
#: Words that each of 1024 threads may have, half of its registers: kept ones and those that it loads for several loops.
#: Fewer where it loads them one by one, each from an address of its own.
LIVE_WORDS = 32
#: Packs that a thread reads before it waits, where it keeps none of them.
MOST_PACKS = 8
#: Bytes that lanes side by side read in one piece, at least: two sectors.
LEAST_PIECE = 64
#: Threads that have enough loads in flight to use the memory's bandwidth: half of an H100's.
MANY_THREADS = 1024 * MULTIPROCESSORS
#: Threads of a block that loops over a row → rows that fill a GPU with such blocks: small ones end more evenly.
ROWS_OF_BLOCKS = {256: 1024, 512: 512}
#: Threads of a block of a cluster, and of one that has a multiprocessor for itself. What is kept of a row was asked for
#: at once: 512 threads with 32 words each have 64 KB on their way, where 40 KB keep an H200's memory busy. Two such
#: blocks are on a multiprocessor, so that one loads while the other waits for its cluster or writes.
OF_CLUSTER, LARGEST = 512, 1024


@dataclass(frozen=True, slots=True)
class Share:
    """How the threads that share a row deal out its chunks.

    Attributes:
        threads: How many they are, those of all blocks.
        parts: Chunks of each thread, where the loop is unrolled; 0 for a plain loop.
        in_shared: Scratch lies in shared memory, not in registers.
        blocks: Blocks that share the row, a cluster where there are several.
        far: Of the parts, the last ones, whose scratch lies in shared memory, where that of the others is in registers.
        resident: Blocks of a multiprocessor to leave registers for.
    """

    threads: int
    parts: int
    in_shared: bool = False
    blocks: int = 1
    far: int = 0
    resident: int = 1

    @property
    def each(self) -> int:
        """Threads of one block."""
        return self.threads // self.blocks

    @property
    def own(self) -> str:
        """What counts the chunks that a block has."""
        return "chunk" if self.blocks == 1 else "own"

    @property
    def registers(self) -> int:
        """Registers of each thread, at most."""
        return REGISTERS // (self.each * self.resident)


def row_share(
    rows: int, row: int, width: int, words: int, live: int, pack_bytes: int, again: bool, streams: int,
) -> Share:  # fmt: skip
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
    rows, chunks, large = plain(rows), row // width, min(1024, rung().threads)
    if is_varying(row):
        return Share(next((t for t, least in ROWS_OF_BLOCKS.items() if rows >= least), large), 0)
    most = WARP_ROW if rows >= FEW_ROWS else WARP_ROW_OF_FEW
    if row * max(words, 1) <= allowed(most) and row * streams <= 4 * most:
        lanes = min(max(1 << max(chunks - 1, 0).bit_length(), 4), 32)
        while (
            lanes * pack_bytes > LEAST_PIECE
            and rows * lanes >= 2 * MANY_THREADS
            and ceil_div(chunks, lanes // 2) <= MOST_PACKS // 2
            and ceil_div(chunks, lanes // 2) * width * words <= allowed(KEPT_WORDS[128])
        ):
            lanes //= 2
        return Share(lanes, max(ceil_div(chunks, lanes), 1))
    if not words:
        threads = next((t for t in (128, 256) if ceil_div(chunks, t) <= allowed(MOST_PACKS)), 0)
        if threads:
            return _widened(threads, large, rows, chunks)
        if again:  # few rows at a time, so that they are still in the cache
            return Share(large, 0)
        return Share(next((t for t, least in ROWS_OF_BLOCKS.items() if rows >= least), large), 0)
    for threads, most in KEPT_WORDS.items():
        if ceil_div(chunks, threads) * width * words <= allowed(most):
            return _widened(threads, max(KEPT_WORDS), rows, chunks)
    if large >= LARGEST and 0 < ceil_div(chunks, LARGEST) * width * live <= allowed(
        LIVE_WORDS if width > 1 else 3 * LIVE_WORDS // 4
    ):
        share = kept_share(Share(LARGEST, ceil_div(chunks, LARGEST)), width, words)
        if share is not None:
            return share
    return Share(512, 0, in_shared=True)


def kept_share(share: Share, width: int, words: int) -> Share | None:
    """The same threads, with scratch in registers as far as the rung lets it; None where the rest has no place.

    Args:
        share: The threads, and the packs of each.
        width: Elements of a pack.
        words: Registers of all scratch for each element.
    """
    far = share.parts - share.parts * rung().near // 100
    fits = 4 * words * width * far * share.each <= room() // share.resident
    return replace(share, far=far) if far == 0 or (far < share.parts and fits) else None


def _widened(threads: int, most: int, rows: int, chunks: int) -> Share:
    """More threads a row where rows are few, so that each ends sooner."""
    while threads < most and 2 * threads * rows <= MANY_THREADS and ceil_div(chunks, threads) > 2:
        threads *= 2
    return Share(threads, ceil_div(chunks, threads))


def cluster_share(rows: int, chunks: int, width: int, live: int, words: int) -> Share | None:
    """The smallest cluster whose registers a row fits; a larger one where rows are few. None where none does.

    Args:
        rows: How many rows there are.
        chunks: Packs of one.
        width: Elements of a pack.
        live: Registers for each element; 0 where threads have none.
        words: Of these, registers of scratch.
    """
    most, blocks = allowed(LIVE_WORDS if width > 1 else 3 * LIVE_WORDS // 4), 2
    while blocks <= most_blocks():
        parts = ceil_div(chunks, OF_CLUSTER * blocks)
        few = 2 * blocks * OF_CLUSTER * plain(rows) <= MANY_THREADS and parts > 2 and 2 * blocks <= most_blocks()
        if 0 < parts * width * live <= most and not few:
            share = kept_share(Share(OF_CLUSTER * blocks, parts, blocks=blocks, resident=2), width, words)
            if share is not None:
                return share
        blocks *= 2
    parts = ceil_div(chunks, LARGEST * most_blocks())
    if 0 < parts * width * live <= most and most_blocks() > 1:
        return kept_share(Share(LARGEST * most_blocks(), parts, blocks=most_blocks()), width, words)
    return None
