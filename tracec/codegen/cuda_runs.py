"""One launch over many tuples of buffers: pointers and sizes in a table that is passed by value."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import Entry, Head, Table, lines, table_capacity
from tracec.codegen.cuda_writer import Writer
from tracec.codegen.render import render_template
from tracec.codegen.tree import Line
from tracec.errors import CompileError
from tracec.ir.kernel import Kernel, Loop

THREADS = 256
PARTS = 4


@dataclass(frozen=True, slots=True)
class BufferView:
    """A column of the table."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class RunsView:
    """What ``runs.j2`` needs."""

    head: Head
    capacity: int
    first_step: int
    buffers: tuple[BufferView, ...]
    block_elements: int
    parts: int
    body: tuple[str, ...]


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
    capacity = max(min(most, table_capacity(len(kernel.buffers))), 1)
    table = Table(capacity, len(kernel.buffers), THREADS * PARTS)
    buffers = tuple(
        BufferView(writer.name(b.name), f"{'const ' if b.role == 'in' else ''}{memory_type(b.dtype)}")
        for b in kernel.buffers
    )
    position = Line(f"const {writer.index} {writer.name(loop.var.name)} = ({writer.index})chunk;")
    view = RunsView(
        Head(name, (f"const __grid_constant__ {name}_runs runs",), THREADS, writer.flat), capacity,
        1 << max(capacity - 1, 1).bit_length() - 1, buffers, table.block_elements, PARTS,
        lines((position, *writer.statements(loop.body))),
    )  # fmt: skip
    alignment = tuple(b.dtype.itemsize for b in kernel.buffers)
    return Entry(
        name, render_template("cuda/runs.j2", k=view), (0, 1, 1), (THREADS, 1, 1), 0, alignment, table,
        f"up to {capacity} runs a launch, {table.block_elements} elements a block",
    )  # fmt: skip
