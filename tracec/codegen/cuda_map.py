"""Loops whose iterations are independent, one chunk of elements a thread; other loops run in the thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads, extent, find_packs, peel, stride
from tracec.codegen.cuda_chunk import Chunk, first_of_pack, mentions, pack_chunk, write_chunk
from tracec.codegen.cuda_entry import Entry, Function, Head, View, alignments, ceil_div, head, lines
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.tree import Line, Tree
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Kernel, Loop, Stmt, Var

THREADS = 256
#: From this many blocks on a GPU is full, and threads take several chunks, whose loads are in flight together.
MANY_BLOCKS = 1024
#: A flat loop of so many elements is walked in packs even where some are left over, which takes more source.
RAGGED = 1 << 16


@dataclass(frozen=True, slots=True)
class Span:
    """The chunks of a function, and which are a block's: literals, or terms over what it is given.

    Attributes:
        block: The block's number.
        block_chunks: Chunks of a block.
        whole_blocks: Blocks in which every thread has all of its chunks.
        chunks: All chunks.
        counted: Chunks, and elements that fill none.
        odd: The place of such an element, by the number ``chunk`` that goes on with them; empty where there are none.
        guarded: Whether there are other blocks.
    """

    block: str
    block_chunks: str
    whole_blocks: str
    chunks: str
    counted: str
    odd: str
    guarded: bool


@dataclass(frozen=True, slots=True)
class MapView(View):
    """What ``map.j2`` needs: literals and statements, finished.

    Attributes:
        body: What a thread does for one chunk.
        declared: Packs of several chunks.
        loads: What loads those of one.
        rest: What is left to do then.
        odd: What it does for one of the elements that fill no chunk, which ``chunk`` numbers on.
        parts: Chunks of a thread; 0 for one.
        share: Threads of a block.
        span: The chunks.
        uses_chunk: Whether the body needs the chunk's number.
    """

    body: tuple[str, ...]
    declared: tuple[str, ...]
    loads: tuple[str, ...]
    rest: tuple[str, ...]
    odd: tuple[str, ...]
    parts: int
    share: str
    span: Span
    uses_chunk: bool


def map_entry(kernel: Kernel, name: str, body: tuple[Stmt, ...] | None = None, *, packed: bool = True) -> Entry:
    """A function in which each thread computes one chunk of the parallel loops, or a few.

    Args:
        kernel: The kernel.
        name: The function's name.
        body: The loops that the function runs, where they are not all of the kernel's.
        packed: Whether neighbouring elements may be one thread's, rather than neighbouring threads'.
    """
    variables, inner = peel(kernel.body if body is None else body)
    writer = Writer(kernel)
    ragged = len(variables) == 1 and (is_varying(extent(variables)) or extent(variables) >= RAGGED)
    packs = find_packs(inner, variables[-1], writer.buffers, ragged=ragged) if variables and packed else Packs()
    chunks, odd = divmod(extent(variables), packs.width)
    left = is_varying(odd) or odd > 0
    parts = chunks_each(inner, variables, writer, chunks)
    share = THREADS if plain(chunks) > 1 else 32
    block_chunks = share * parts
    span = Span(
        "blockIdx.x",
        writer.count(block_chunks),
        writer.count(chunks // block_chunks),
        writer.count(chunks),
        writer.count(chunks + odd),
        f"chunk - {writer.count(chunks)} + {writer.count(chunks * packs.width)}" if left else "",
        guarded=left or is_varying(chunks) or chunks % block_chunks != 0,
    )
    view = map_view(head(writer, name, share), writer, variables, inner, packs, parts, span)
    wide = f", packs of {packs.width}" if packs.width > 1 else ""
    schedule = f"{parts} of {chunks} chunks a thread{wide}" + (f", {odd} elements left over" if left else "")
    blocks = ceil_div(chunks + odd, block_chunks)
    return Entry(
        Function("map", view), (blocks, 1, 1), (share, 1, 1), 0, alignments(kernel, [packs]), schedule=schedule
    )


def map_view(
    top: Head, writer: Writer, variables: Sequence[Var], body: Sequence[Stmt], packs: Packs, parts: int, span: Span
) -> MapView:
    """What ``map.j2`` is filled with.

    Args:
        top: How the function begins.
        writer: Writes the kernel.
        variables: The loops, outermost first.
        body: Statements inside of them.
        packs: What is accessed in packs.
        parts: Chunks of a thread.
        span: The chunks, and which are a block's.
    """
    statements = write_chunk(writer, variables, body, packs)
    phases = _phases(writer, variables, body, packs, parts)
    return MapView(
        top,
        lines(statements),
        lines(phases.declared),
        lines(phases.loads),
        lines(phases.rest),
        lines(_odd(writer, variables[-1], body, span.odd)) if span.odd else (),
        parts if parts > 1 else 0,
        writer.count(top.threads),
        span,
        uses_chunk=mentions(statements, "chunk"),
    )


def chunks_each(body: Sequence[Stmt], variables: Sequence[Var], writer: Writer, chunks: int) -> int:
    """Chunks of a thread: some 64 bytes in flight where there are threads enough."""
    if any(isinstance(s, Loop) for s in body) or not variables:
        return 1
    moving = (x for x in certain_loads(body) if x.buffer in writer.buffers and stride(x.index, variables[-1]) != 0)
    loads = len({(x.buffer, x.index) for x in moving})
    wanted = (4 if loads <= 1 else 2 if loads <= 4 else 1) * rung().in_flight // 100
    return next((p for p in (4, 2) if p <= wanted and plain(chunks) >= p * THREADS * MANY_BLOCKS), 1)


def _phases(writer: Writer, variables: Sequence[Var], body: Sequence[Stmt], packs: Packs, parts: int) -> Chunk:
    """The statements of several chunks, loads apart, so that they go out before the first is used."""
    if parts == 1:
        return Chunk((), (), ())
    if packs.width == 1:
        return Chunk((), (), write_chunk(writer, variables, body, packs))
    first = first_of_pack(writer, "chunk", variables, packs.width)
    chunk = pack_chunk(writer, variables[-1], body, packs, arrays=parts)
    loads = (*first, *chunk.loads) if chunk.loads else ()
    return Chunk(chunk.declared, loads, (*first, *chunk.rest))


def _odd(writer: Writer, last: Var, body: Sequence[Stmt], place: str) -> tuple[Tree, ...]:
    """One element of those after the last chunk."""
    at = f"({writer.index})({place})"
    return (Line(f"const {writer.index} {writer.name(last.name)} = {at};"), *writer.statements(body))
