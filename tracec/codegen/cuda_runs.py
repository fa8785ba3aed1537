"""One launch over many tuples of buffers: pointers and sizes in a table that is passed by value."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_access import Packs, certain_loads, find_packs
from tracec.codegen.cuda_chunk import Chunk, pack_chunk
from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Entry, Function, Head, Table, View, alignments, lines, table_capacity
from tracec.codegen.cuda_writer import Writer
from tracec.errors import CompileError
from tracec.ir.kernel import Kernel, Loop

THREADS = 256


@dataclass(frozen=True, slots=True)
class BufferView:
    """A column of the table."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class RunsView(View):
    """What ``runs.j2`` needs.

    Attributes:
        first: The line that names a chunk's first element.
        body: One chunk.
        declared: Packs of several chunks.
        loads: What loads those of one.
        rest: What is left to do then.
        odd: The line that names one of the elements that fill no chunk.
        element: What is done for it.
    """

    capacity: int
    first_step: int
    buffers: tuple[BufferView, ...]
    block_elements: int
    parts: int
    width: int
    first: str
    body: tuple[str, ...]
    declared: tuple[str, ...]
    loads: tuple[str, ...]
    rest: tuple[str, ...]
    odd: str
    element: tuple[str, ...]


def is_sized(kernel: Kernel) -> bool:
    """Whether the extent of the kernel's one loop is given at launch."""
    return any(isinstance(s, Loop) and s.var.extent < 0 for s in kernel.body)


def runs_entry(kernel: Kernel, name: str, most: int) -> Entry:
    """A function that finds its block's run in a table and computes a part of it.

    Args:
        kernel: One flat loop whose extent is given at launch.
        name: The function's name.
        most: The most runs of any of the kernel's launches.
    """
    (loop,) = kernel.body
    if not isinstance(loop, Loop):
        raise CompileError(f"kernel {kernel.name}: a launch over many buffers runs one loop")
    writer = Writer(kernel)
    packs = find_packs(loop.body, loop.var, writer.buffers, ragged=True)
    parts = _parts(loop, writer)
    capacity = max(min(most, table_capacity(len(kernel.buffers))), 1)
    table = Table(capacity, len(kernel.buffers), THREADS * parts * packs.width)
    buffers = tuple(
        BufferView(writer.name(b.name), f"{'const ' if b.role == 'in' else ''}{memory_type(b.dtype)}")
        for b in kernel.buffers
    )
    var = writer.name(loop.var.name)
    one, several = _chunk(writer, loop, packs, 0), _chunk(writer, loop, packs, parts)
    view = RunsView(
        Head(name, (f"const __grid_constant__ {name}_runs runs",), THREADS, writer.flat), capacity,
        1 << max(capacity - 1, 1).bit_length() - 1, buffers, table.block_elements, parts, packs.width,
        f"const {writer.index} {var}{'_first' if packs.width > 1 else ''} = ({writer.index})chunk * {packs.width};",
        lines((*one.loads, *one.rest)), lines(several.declared), lines(several.loads), lines(several.rest),
        f"const {writer.index} {var} = ({writer.index})(size / {packs.width}u * {packs.width}u + threadIdx.x);",
        lines(writer.statements(loop.body)),
    )  # fmt: skip
    wide = f" in packs of {packs.width}" if packs.width > 1 else ""
    return Entry(
        Function("runs", view), (0, 1, 1), (THREADS, 1, 1), 0, alignments(kernel, [packs]),
        table, f"up to {capacity} runs a launch, {table.block_elements} elements a block{wide}",
    )  # fmt: skip


def _parts(loop: Loop, writer: Writer) -> int:
    """Chunks of a thread: some 64 bytes in flight."""
    loads = len({x for x in certain_loads(loop.body) if x.buffer in writer.buffers and x.index == loop.var})
    return 4 if loads <= 1 else 2 if loads <= 2 else 1


def _chunk(writer: Writer, loop: Loop, packs: Packs, parts: int) -> Chunk:
    if packs.width == 1:
        return Chunk((), (), writer.statements(loop.body))
    return pack_chunk(writer, loop.var, loop.body, packs, arrays=parts)
