"""What one block does, as a function that the threads of another launch's block run when that is done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, extent, find_packs, peel
from tracec.codegen.cuda_chunk import write_chunk
from tracec.codegen.cuda_columns import SHORT, rows_lie_apart
from tracec.codegen.cuda_entry import Function, Grid, Head, View, alignments, ceil_div, lines
from tracec.codegen.cuda_row_body import row_packs, row_space, scratch_words, waits_later
from tracec.codegen.cuda_row_stages import Stage, share_stages
from tracec.codegen.cuda_rows import ALL_LANES
from tracec.codegen.cuda_share import MOST_PACKS, WARP_ROW_OF_FEW, Share
from tracec.codegen.cuda_writer import Writer, coherent
from tracec.ir.extent import is_varying
from tracec.ir.kernel import Acc, Kernel, Loop, walk

#: Chunks of a thread up to which a block is soon done: more are waited for longer than a launch would take.
MOST_CHUNKS = 2 * MOST_PACKS


@dataclass(frozen=True, slots=True)
class Tail:
    """One block's work.

    Attributes:
        function: What all threads of a block call, with the kernel's buffers.
        alignment: The bytes that each buffer's address must be a multiple of.
        shared_bytes: Shared memory of its own.
        schedule: How its loops map to threads, for readers.
    """

    function: Function
    alignment: tuple[int, ...]
    shared_bytes: int
    schedule: str


@dataclass(frozen=True, slots=True)
class TailView(View):
    """What ``tail.j2`` needs; of rows what `tracec.codegen.cuda_rows.RowView` has.

    Attributes:
        thread: A thread's number in its block.
        idle: The first thread that has nothing to do; empty where all have.
        loop: Head of the loop over a map's chunks; empty for a row.
        body: One chunk of a map.
    """

    thread: str
    idle: str = ""
    loop: str = ""
    body: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    share: str = ""
    chunks: str = ""
    warps_share: bool = False
    warps: int = 1
    first_step: int = 16
    copies: str = ""
    copy: str = ""
    mask: str = ALL_LANES


def tail(kernel: Kernel, block: Grid) -> Tail | None:
    """A kernel that one block computes, for the threads of a block of this shape; None where they would take long.

    Args:
        kernel: The kernel.
        block: Threads along x, y, z: whole warps together.
    """
    variables, body = peel(kernel.body)
    if any(is_varying(s.var.extent) for s in walk(kernel.body) if isinstance(s, Loop)) or scratch_words(body):
        return None
    if kernel.shape in ("row", "full") and extent(variables) == 1:
        return _row(kernel, block)
    if kernel.shape == "map":
        return _map(kernel, block)
    if kernel.shape == "column":
        row = extent(row_space(body, kernel))
        return _map(kernel, block) if row <= SHORT and not rows_lie_apart(body, variables, row) else None
    return None


def _map(kernel: Kernel, block: Grid) -> Tail | None:
    variables, inner = peel(kernel.body)
    writer = Writer(kernel)
    packs = find_packs(inner, variables[-1], writer.buffers) if variables else Packs()
    chunks, threads = extent(variables) // packs.width, _threads(block)
    if chunks > MOST_CHUNKS * threads:
        return None
    count = writer.count
    loop = f"for ({writer.flat} chunk = thread; chunk < {count(chunks)}; chunk += {count(threads)})"
    body = lines(write_chunk(writer, variables, inner, packs))
    view = TailView(_head(writer, kernel), _number(block), loop=loop, body=body)
    schedule = f"{chunks} chunks by {min(chunks, threads)} threads" + f", packs of {packs.width}" * (packs.width > 1)
    return _made(kernel, view, [packs], 0, schedule)


def _row(kernel: Kernel, block: Grid) -> Tail | None:
    variables, body = peel(kernel.body)
    body = waits_later(body)
    writer = Writer(kernel)
    packs = row_packs(writer, body)
    width = max((p.width for p in packs.values()), default=1)
    row = extent(row_space(body, kernel))
    threads = 32 if row <= WARP_ROW_OF_FEW else _threads(block)
    chunks = row // width
    parts = max(ceil_div(chunks, threads), 1)
    if parts > MOST_CHUNKS:
        return None
    share = Share(threads, parts if parts <= MOST_PACKS else 0)
    several = threads > 32
    start = lines(writer.unflatten("0", variables))
    stages = share_stages(writer, body, packs, share, "thread == 0", "__syncthreads();" if several else "__syncwarp();")
    view = TailView(
        _head(writer, kernel), _number(block), idle="" if threads == _threads(block) else writer.count(threads),
        start=start, stages=stages, share=writer.count(threads), chunks=writer.count(chunks), warps_share=several,
        warps=threads // 32,
    )  # fmt: skip
    shared = sum(s.dtype.itemsize for s in walk(body) if isinstance(s, Acc)) * view.warps if several else 0
    schedule = f"{f'a block of {threads}' if several else 'a warp'} a row of {row}"
    schedule += f", {parts} unrolled" if share.parts else ", looped"
    return _made(kernel, view, packs.values(), shared, schedule + f", packs of {width}" * (width > 1))


def _made(kernel: Kernel, view: TailView, packs: Iterable[Packs], shared: int, schedule: str) -> Tail:
    return Tail(Function("tail", view), alignments(kernel, packs), shared, schedule)


def _head(writer: Writer, kernel: Kernel) -> Head:
    """The function's head. What it reads others have written in the same launch: nothing may be taken for constant."""
    return Head(kernel.name, coherent(writer.parameters()), 0, writer.flat, is_called=True)


def _threads(block: Grid) -> int:
    return block[0] * block[1] * block[2]


def _number(block: Grid) -> str:
    """A thread's number among those of a block."""
    if block[2] > 1:
        return f"(threadIdx.z * {block[1]}u + threadIdx.y) * {block[0]}u + threadIdx.x"
    return f"threadIdx.y * {block[0]}u + threadIdx.x" if block[1] > 1 else "threadIdx.x"
