"""Reductions of rows: some lanes, a warp or a block each; every thread gets the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracec.codegen.cuda_access import extent, peel, streams_of_rows
from tracec.codegen.cuda_anew import LEAST_COST, computed_anew
from tracec.codegen.cuda_clusters import own_size, place_row, place_several
from tracec.codegen.cuda_entry import Entry, Function, View, alignments, ceil_div, head, lines
from tracec.codegen.cuda_held import Hold, Holder, hold_near
from tracec.codegen.cuda_registers import live_words, uses
from tracec.codegen.cuda_row_body import row_packs, row_space, scratch_words, waits_later
from tracec.codegen.cuda_row_stages import Stage, is_tight, share_stages
from tracec.codegen.cuda_share import LARGEST, Share, row_share
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Line, Tree
from tracec.errors import CompileError
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import (
    Kernel,
    Loop,
    Scratch,
    Stmt,
)  # fmt: skip
from tracec.ir.room import room

WARPS_OF_BLOCK = 4
#: Dynamic shared memory.
SCRATCH = "extern __shared__ __align__(16) unsigned char scratch[];"
#: The lanes of a whole warp.
ALL_LANES = "0xffffffffu"
#: All threads of a cluster wait for each other, and what they have done before is done.
CLUSTER_BARRIER = "cluster_fence(); cluster_arrive(); cluster_wait();"


@dataclass(frozen=True, slots=True)
class RowView(View):
    """What ``row.j2`` and ``row_stages.j2`` need.

    Attributes:
        cluster: Blocks that share a row, where there are several; 0 for one.
        block_threads: Threads of each.
    """

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

    @property
    def parts_ways(self) -> bool:
        one_leaves = self.ragged and not self.cluster and not self.warps_share
        return one_leaves and any(s.deal is not None and s.accs for s in self.stages)


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
        replace(head(writer, name, threads).leaving_room(share.resident), cluster=share.blocks if several else 0),
        start,
        stages, writer.count(share.threads), writer.count(chunks), shared, share.each // 32,
        min(share.threads, 32) // 2, is_varying(rows) or rows % per_block != 0,
        writer.count(rows), writer.count(per_block), cluster=share.blocks if several else 0,
        block_threads=writer.count(share.each),
    )  # fmt: skip
    schedule = _in_words(share, threads, row.length, hold) + (f", packs of {width}" if width > 1 else "")
    return Entry(
        Function("row", view), (ceil_div(rows, per_block) * share.blocks, 1, 1),
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
