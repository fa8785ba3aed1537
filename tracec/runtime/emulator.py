"""A CUDA program run on the host: every launch of a plan in order, its arena included.

The source is the one that NVRTC gets. With checks, what no kernel may do is an `EmulatorError` that names the kernel,
block, thread and line: accesses outside of a buffer or an array, reads of what nothing has written, races, barriers
and shuffles that not all threads reach. Values that share the arena are told apart: what is read must have been
written for the value that it is read as.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir.kernel import Kernel
from tracec.ir.launch import Clear, CudaLaunch, CudaStep, Workspace
from tracec.ir.plan import LibraryCall, Plan
from tracec.runtime.emulator_findings import Buffer
from tracec.runtime.emulator_launch import ORDERS, launch
from tracec.runtime.emulator_library import Library, Source
from tracec.runtime.interpreter import call_library

Array = np.ndarray[Any, Any]

#: Alignment of memory that the emulator makes, as a GPU's allocator gives it.
_ALIGN = 256


class Table(Protocol):
    """`tracec.codegen.cuda_entry.Table`."""

    def pack(self, sizes: Sequence[int], pointers: Sequence[Sequence[int]]) -> bytes: ...


class Entry(Protocol):
    """`tracec.codegen.cuda_entry.Entry`."""

    @property
    def name(self) -> str: ...
    @property
    def block(self) -> tuple[int, int, int]: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def alignment(self) -> tuple[int, ...]: ...
    @property
    def table(self) -> Table | None: ...


class CudaKernel(Protocol):
    """`tracec.codegen.cuda.CudaKernel`."""

    @property
    def source(self) -> str: ...
    @property
    def entries(self) -> Sequence[Entry]: ...
    @property
    def ir(self) -> Kernel: ...


class Program(Protocol):
    """`tracec.codegen.cuda.CudaProgram`."""

    @property
    def kernels(self) -> Sequence[CudaKernel]: ...
    @property
    def steps(self) -> Sequence[CudaStep]: ...
    @property
    def workspace_bytes(self) -> int: ...


def load(plan: Plan, program: Program, order: str = "ascending", checks: bool = True) -> EmulatedPlan:
    """Compile a rendered plan for the host (or find it in the disk cache).

    Args:
        plan: The plan.
        program: Its kernels and launches.
        order: How the threads of a block take turns: ``ascending``, ``descending`` or ``random``.
        checks: Whether every access is checked, which takes some ten times as long.

    Raises:
        ArgumentError: the order is unknown.
        CompilerMissing: there is no C++ compiler, or no stack switch for this machine.
        CompileError: the compiler rejects the source.
    """
    if order not in ORDERS:
        raise ArgumentError(f"emulator: order {order!r} is unknown", hint=f"use one of {', '.join(ORDERS)}")
    library = compile_kernels(program.kernels, checks) if program.kernels else None
    return EmulatedPlan(plan, program, library, order)


def compile_kernels(kernels: Sequence[CudaKernel], checks: bool = True) -> Library:
    """Compile kernels with different names into one library."""
    return Library([Source(k.source, tuple(e.name for e in k.entries)) for k in kernels], checks)


class EmulatedPlan:
    """Runs a plan's CUDA program on the host.

    Args:
        plan: The plan.
        program: Its kernels and launches.
        library: The kernels, compiled; None where there are none.
        order: How the threads of a block take turns.
    """

    def __init__(self, plan: Plan, program: Program, library: Library | None, order: str) -> None:
        self.plan = plan
        self.program = program
        self.library = library
        self.order = order

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the plan.

        Args:
            inputs: C-contiguous arrays of the plan's input types. Those that the plan donates are written to.

        Returns:
            The outputs; one that is written in place of an input is that very array.

        Raises:
            EmulatorError: a kernel does what no kernel may.
        """
        if len(inputs) != len(self.plan.inputs):
            raise ArgumentError(f"plan: takes {len(self.plan.inputs)} inputs, {len(inputs)} given")
        return _Run(self, inputs).results()


class _Run:
    """One run: the memory behind every value."""

    def __init__(self, emulated: EmulatedPlan, inputs: Sequence[Array]) -> None:
        self.plan, self.program, self.library = emulated.plan, emulated.program, emulated.library
        self.order = emulated.order
        self.seeds = itertools.count(1)
        self.arena = aligned(self.plan.memory.peak_bytes)
        self.workspace = aligned(self.program.workspace_bytes)
        self.arrays: dict[int, Array] = dict(zip(self.plan.inputs, inputs, strict=True))
        for i, value in enumerate(self.plan.values):
            if i not in self.arrays:
                nbytes = value.type.nbytes
                piece = self.arena[value.offset :][:nbytes] if value.place == "arena" else aligned(nbytes)
                self.arrays[i] = piece.view(value.type.dtype.numpy).reshape(value.type.shape)

    def results(self) -> list[Array]:
        for step in self.program.steps:
            if isinstance(step, CudaLaunch):
                self.launch(step)
            elif isinstance(step, Clear):
                self.workspace[step.offset : step.offset + step.nbytes] = 0
            else:
                self.call(step)
        return [self.arrays[i] for i in self.plan.outputs]

    def call(self, step: LibraryCall) -> None:
        with np.errstate(all="ignore"):
            call_library(self.plan, step, self.arrays)

    def launch(self, step: CudaLaunch) -> None:
        kernel = self.program.kernels[step.kernel]
        entry = kernel.entries[step.entry]
        buffers = [[self.buffer(kernel.ir, k, a) for k, a in enumerate(row)] for row in step.args]
        addresses = [tuple(b.address for b in row) for row in buffers]
        if entry.table is not None:
            packed = entry.table.pack(step.sizes, addresses)
            params: list[Any] = [ctypes.create_string_buffer(packed, len(packed))]
        else:
            params = [ctypes.c_void_p(a) for a in addresses[0]]
        assert self.library is not None
        launch(
            self.library, entry.name, step.grid, entry.block, params, [b for row in buffers for b in row],
            entry.shared_bytes, self.order, next(self.seeds),
        )  # fmt: skip

    def buffer(self, kernel: Kernel, position: int, argument: int | Workspace) -> Buffer:
        """The memory behind one of a kernel's arguments."""
        formal = kernel.buffers[position] if position < len(kernel.buffers) else None
        name = formal.name if formal else f"workspace {position}"
        if isinstance(argument, Workspace):
            nbytes = formal.nbytes if formal and -1 not in formal.shape else len(self.workspace) - argument.offset
            itemsize = formal.dtype.itemsize if formal else 1
            return Buffer(
                name,
                str(formal.dtype) if formal else "bytes",
                self.workspace.ctypes.data + argument.offset,
                nbytes,
                itemsize,
            )
        array = self.arrays[argument]
        return Buffer(name, str(array.dtype), array.ctypes.data, array.nbytes, array.itemsize)


def aligned(nbytes: int) -> Array:
    """New memory, of NaN where it is seen as floats, that starts where a GPU's would."""
    raw = np.full(nbytes + _ALIGN, 0xFF, np.uint8)
    start = -raw.ctypes.data % _ALIGN
    return raw[start : start + nbytes]
