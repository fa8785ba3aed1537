"""What a program for a GPU does, step by step: what codegen hands to whatever launches it."""

from __future__ import annotations

from dataclasses import dataclass

from tracec.ir.plan import LibraryCall


@dataclass(frozen=True, slots=True)
class Workspace:
    """Memory that one step needs for itself, such as the counters of a scan, in place of one of the plan's values.

    Attributes:
        offset: Bytes from the workspace's start, a multiple of 256.
    """

    offset: int


@dataclass(frozen=True, slots=True)
class Tickets:
    """A counter that is 0 when a launch begins, and again when it has ended. All launches of a stream share one."""


#: What stands behind a kernel's buffer: one of the plan's values, by its index, or memory of the step's own.
Argument = int | Workspace | Tickets


@dataclass(frozen=True, slots=True)
class Number:
    """A number that a function is given behind its buffers: one that depends on sizes that vary from call to call.

    Attributes:
        type: Its type in the source: ``int``, ``long long`` or ``double``.
        value: What it is.
    """

    type: str
    value: float


@dataclass(frozen=True, slots=True)
class CudaLaunch:
    """One launch.

    Attributes:
        kernel: Index into the program's kernels.
        entry: Which of its functions.
        grid: Blocks along x, y, z.
        args: For each run, what is behind each buffer; one run unless the entry has a table.
        sizes: For each run, its number of elements, where the entry has a table.
        numbers: What the function is given behind its buffers.
        steps: The plan's steps that it is of: several, in order, where it does the work of several.
    """

    kernel: int
    entry: int
    grid: tuple[int, int, int]
    args: tuple[tuple[Argument, ...], ...]
    sizes: tuple[int, ...] = ()
    numbers: tuple[Number, ...] = ()
    steps: tuple[int, ...] = ()


CudaStep = CudaLaunch | LibraryCall
