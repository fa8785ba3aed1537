"""What a shape's module hands over: one ``__global__`` function and how it is launched."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tracec.codegen.cuda_access import Packs
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_writer import Parameter, Writer
from tracec.codegen.render import render_template
from tracec.codegen.tree import Line, Tree
from tracec.ir.kernel import Kernel
from tracec.ir.launch import Number
from tracec.ir.room import most_threads

Grid = tuple[int, int, int]

#: Bytes of parameters that every launch can pass.
PARAMETER_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Table:
    """The parameter of a launch that runs one body over many tuples of buffers.

    It is a struct, in this order: the number of runs, the first block of each run and the end, the size of
    each run, then for each buffer the pointers of all runs.

    Attributes:
        capacity: The most runs of one launch.
        buffers: Pointers of each run.
        block_elements: Elements that one block computes.
    """

    capacity: int
    buffers: int
    block_elements: int

    @property
    def nbytes(self) -> int:
        """Size of the struct."""
        return struct.calcsize(self._format)

    @property
    def _format(self) -> str:
        words = 2 + 2 * self.capacity
        return f"<{words + words % 2}I{self.capacity * self.buffers}Q"

    def starts(self, sizes: Iterable[int]) -> tuple[int, ...]:
        """The first block of each run, and the number of blocks."""
        return tuple(itertools.accumulate((-(-s // self.block_elements) for s in sizes), initial=0))

    def pack(self, sizes: Sequence[int], pointers: Sequence[Sequence[int]]) -> bytes:
        """The struct's bytes.

        Args:
            sizes: Elements of each run.
            pointers: For each run, the address of each buffer.
        """
        spare = self.capacity - len(sizes)
        starts = self.starts(sizes)
        words = [len(sizes), *starts, *[starts[-1]] * spare, *sizes, *[0] * spare]
        words += [0] * (len(words) % 2)
        columns = [p for column in zip(*pointers, strict=True) for p in (*column, *[0] * spare)]
        return struct.pack(self._format, *words, *columns)


def table_capacity(buffers: int) -> int:
    """The most runs whose pointers and sizes fit one launch's parameters."""
    return (PARAMETER_BYTES - 8) // (8 * buffers + 8)


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of a function: ``macros.j2`` writes it.

    Attributes:
        name: The function's name.
        parameters: Declarations.
        threads: The most threads of a block.
        counter: Type of counters.
        blocks: Blocks of a multiprocessor to leave registers for; 0 for what the compiler chooses.
        cluster: Blocks of a cluster; 0 where there are none.
        is_called: Whether other functions call it, by all threads of a block, rather than that it is launched.
        follows: Whether it begins with a wait for what was launched before it.
    """

    name: str
    parameters: tuple[Parameter | str, ...]
    threads: int
    counter: str
    blocks: int = 1
    cluster: int = 0
    is_called: bool = False
    follows: bool = False

    def leaving_room(self, blocks: int) -> Head:
        """With registers for several blocks of a multiprocessor.

        They are those that the rung leaves of them and that a multiprocessor has: asked for more, it bounds nothing.
        """
        most = most_threads() // (ceil_div(self.threads, 32) * 32)
        return replace(self, blocks=max(min(blocks * rung().blocks // 100, most), 1))


@dataclass(frozen=True, slots=True)
class View:
    """What the template of a function needs, finished: each has a class for the rest of it.

    Attributes:
        head: How the function begins.
    """

    head: Head

    @property
    def parts_ways(self) -> bool:
        """Whether lanes that are through leave while others of their warp still exchange values."""
        return False


@dataclass(frozen=True, slots=True)
class Function:
    """A template, and what it is filled with: text when it is known how the function begins.

    Attributes:
        template: Its name in ``templates/cuda``.
        view: What it needs.
    """

    template: str
    view: View

    @property
    def head(self) -> Head:
        """How it begins."""
        return self.view.head

    def beginning(self, **changes: Any) -> Function:
        """The function with another head.

        Args:
            changes: The fields of `Head` that are others.
        """
        return replace(self, view=replace(self.view, head=replace(self.head, **changes)))

    def __str__(self) -> str:
        return render_template(f"cuda/{self.template}.j2", k=self.view)


@dataclass(frozen=True, slots=True)
class Entry:
    """One ``__global__`` function. Its parameters are the kernel's buffers in order, or one `Table`.

    Attributes:
        function: The function.
        grid: Blocks along x, y, z; a grid with no blocks is not launched. With a table, x depends on the sizes.
        block: Threads along x, y, z.
        shared_bytes: Dynamic shared memory.
        alignment: The bytes that each buffer's address must be a multiple of.
        table: How several runs are passed, where one launch does several.
        schedule: How the loops map to threads, for readers.
        numbers: What it is given behind the buffers, and behind the workspace.
    """

    function: Function
    grid: Grid
    block: Grid
    shared_bytes: int = 0
    alignment: tuple[int, ...] = ()
    table: Table | None = None
    schedule: str = ""
    numbers: tuple[Number, ...] = ()

    @property
    def name(self) -> str:
        """The function's name."""
        return self.function.head.name

    @property
    def threads(self) -> int:
        """Threads of a block."""
        x, y, z = self.block
        return x * y * z


@dataclass(frozen=True, slots=True)
class Call:
    """One launch of a function.

    Attributes:
        entry: Which of the functions.
        args: What is behind each of its parameters: the kernel's buffers by their number, and the arrays of the
            workspace, counted on from there.
    """

    entry: int
    args: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Routine:
    """Functions that do one kernel's work, and the order they are launched in.

    Attributes:
        entries: The functions; a `Table` only where there is one function.
        calls: Their launches. All blocks of one end before the next begins.
        workspace: Bytes of each array that the functions share among themselves.
    """

    entries: tuple[Entry, ...]
    calls: tuple[Call, ...]
    workspace: tuple[int, ...] = ()


def one_after_another(kernel: Kernel, entries: Sequence[Entry], workspace: tuple[int, ...] = ()) -> Routine:
    """Functions that each take all of a kernel's buffers and all of the workspace."""
    every = tuple(range(len(kernel.buffers) + len(workspace)))
    return Routine(tuple(entries), tuple(Call(n, every) for n in range(len(entries))), workspace)


def alignments(kernel: Kernel, packs: Iterable[Packs]) -> tuple[int, ...]:
    """The bytes that each buffer's address must be a multiple of, for the packs that are read and written."""
    needed = {b.name: b.dtype.itemsize for b in kernel.buffers}
    sizes = dict(needed)
    for found in packs:
        for buffer, _ in (*found.loads, *found.stores):
            needed[buffer] = max(needed[buffer], found.width * sizes[buffer])
    return tuple(needed.values())


def head(writer: Writer, name: str, threads: int) -> Head:
    """The beginning of a kernel's function."""
    return Head(name, writer.parameters(), threads, writer.flat)


def lines(trees: Iterable[Tree]) -> tuple[str, ...]:
    """Statements as lines, indented among themselves, for a template to place."""
    found: list[str] = []
    for tree in trees:
        if isinstance(tree, Line):
            found.append(tree.text)
            continue
        found += [f"#pragma {p}" for p in tree.pragmas]
        found += [f"{tree.head} {{".lstrip(), *(f"  {line}" for line in lines(tree.body)), "}"]
    return tuple(found)


def ceil_div(a: int, b: int) -> int:
    """``a / b``, rounded up."""
    return -(-a // b)
