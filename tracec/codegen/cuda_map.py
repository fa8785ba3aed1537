"""Loops whose iterations are independent, one chunk of elements a thread; other loops run in the thread."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, extent, find_packs, peel
from tracec.codegen.cuda_chunk import mentions, write_chunk
from tracec.codegen.cuda_entry import Entry, Head, alignments, ceil_div, head, lines
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.render import render_template
from tracec.ir.kernel import Kernel, Loop, Stmt

THREADS = 256
#: Chunks a thread takes where there are plenty: its loads are in flight together.
PARTS = 4
#: From this many blocks on there are plenty.
MANY_BLOCKS = 1024


@dataclass(frozen=True, slots=True)
class MapView:
    """What ``map.j2`` needs: literals and statements, finished."""

    head: Head
    body: tuple[str, ...]
    parts: int
    share: str
    block_chunks: str
    chunks: str
    guarded: bool
    uses_chunk: bool


def map_entry(kernel: Kernel, name: str, body: tuple[Stmt, ...] | None = None) -> Entry:
    """A function in which each thread computes one chunk of the parallel loops.

    Args:
        kernel: The kernel.
        name: The function's name.
        body: The loops that the function runs, where they are not all of the kernel's.
    """
    variables, inner = peel(kernel.body if body is None else body)
    writer = Writer(kernel)
    packs = find_packs(inner, variables[-1], writer.buffers) if variables else Packs()
    chunks = extent(variables) // packs.width
    simple = not any(isinstance(s, Loop) for s in inner)
    parts = PARTS if simple and chunks >= PARTS * THREADS * MANY_BLOCKS else 0
    share = THREADS if chunks > 1 else 32
    block_chunks = share * max(parts, 1)
    statements = write_chunk(writer, variables, inner, packs)
    view = MapView(
        head(writer, name, share),
        lines(statements),
        parts,
        writer.count(share),
        writer.count(block_chunks),
        writer.count(chunks),
        guarded=chunks % block_chunks != 0,
        uses_chunk=mentions(statements, "chunk"),
    )
    text = render_template("cuda/map.j2", k=view)
    wide = f", packs of {packs.width}" if packs.width > 1 else ""
    schedule = f"{max(parts, 1)} of {chunks} chunks a thread{wide}"
    blocks = ceil_div(chunks, block_chunks)
    return Entry(name, text, (blocks, 1, 1), (share, 1, 1), 0, alignments(kernel, [packs]), schedule=schedule)
