"""A CUDA program run on the host: every launch of a plan in order, its arena included.

The source is the one that NVRTC gets. With checks, what no kernel may do is an `EmulatorError` that names the kernel,
block, thread and line: accesses outside of a buffer or an array, reads of what nothing has written, races, barriers
and shuffles that not all threads reach. Values that share the arena are told apart: what is read must have been
written for the value that it is read as.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tracec.errors import ArgumentError, EmulatorError
from tracec.ir.launch import Argument, CudaLaunch, CudaStep, Tickets, Workspace
from tracec.ir.plan import Plan
from tracec.runtime.emulator_findings import Buffer
from tracec.runtime.emulator_launch import check_order, launch
from tracec.runtime.emulator_library import Library, Source
from tracec.runtime.emulator_memory import Array, Lives, Memory, formals, name_of, owner_of
from tracec.runtime.interpreter import call_library
from tracec.runtime.launcher import C_TYPES


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
    def arrays(self) -> Sequence[Workspace]: ...
    @property
    def workspace(self) -> Sequence[int]: ...


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
    check_order(order)
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

    def __init__(self, plan: Plan, program: Program, library: Library | None, order: str = "ascending") -> None:
        self.plan = plan
        self.program = program
        self.library = library
        self.order = order
        self._lives = Lives(plan, program.steps)
        self._owners = {owner_of(i): name_of(plan, i) for i in range(len(plan.values))}
        self._alignment: dict[int, int] = {}
        for step in program.steps:
            if isinstance(step, CudaLaunch):
                needed = program.kernels[step.kernel].entries[step.entry].alignment
                for row in step.args:
                    for argument, n in zip(row, needed, strict=False):
                        if isinstance(argument, int):
                            whole = plan.whole(argument)
                            self._alignment[whole] = max(n, self._alignment.get(whole, 1))

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
        checks = self.library is not None and self.library.checks
        memory = Memory(self.plan, self._lives, self.program.workspace_bytes, self._alignment, inputs, checks)
        at = -1
        for number, (step, steps) in enumerate(zip(self.program.steps, self._lives.steps, strict=True)):
            while at < steps[0]:
                memory.end(at)
                at += 1
                memory.begin(at)
            for at in steps[1:]:  # done by the same launch: all of their values live until its end
                memory.begin(at)
            if isinstance(step, CudaLaunch):
                self._launch(step, formals(self.plan, steps), memory, number)
            else:
                memory.read(step)
                with np.errstate(all="ignore"):
                    call_library(self.plan, step, memory.arrays)
            for done in steps[:-1]:
                memory.end(done)
        return memory.results()

    @staticmethod
    def _buffer(a: Argument, names: Mapping[int, tuple[str, bool]], sizes: Mapping[int, int], memory: Memory) -> Buffer:
        if isinstance(a, Tickets):
            return memory.tickets()
        return memory.value(a, *names[a]) if isinstance(a, int) else memory.workspace(a.offset, sizes[a.offset])

    def _launch(self, step: CudaLaunch, names: Mapping[int, tuple[str, bool]], memory: Memory, number: int) -> None:
        kernel = self.program.kernels[step.kernel]
        entry = kernel.entries[step.entry]
        sizes = {a.offset: n for a, n in zip(kernel.arrays, kernel.workspace, strict=True)}
        buffers = []
        for row in step.args:
            buffers.append([self._buffer(a, names, sizes, memory) for a in row])
            for b, needed in zip(buffers[-1], entry.alignment, strict=False):
                if b.nbytes and b.address % needed:
                    raise EmulatorError(f"emulator: {entry.name}: {b} starts at no multiple of {needed} bytes")
        addresses = [tuple(b.address for b in row) for row in buffers]
        if entry.table is not None:
            packed = entry.table.pack(step.sizes, addresses)
            params: list[Any] = [ctypes.create_string_buffer(packed, len(packed))]
        else:
            params = [*map(ctypes.c_void_p, addresses[0]), *(C_TYPES[n.type](n.value) for n in step.numbers)]
        assert self.library is not None
        launch(
            self.library, entry.name, step.grid, entry.block, params, [b for row in buffers for b in row],
            shared_bytes=entry.shared_bytes, order=self.order, seed=number, owners=self._owners, lost=memory.lost,
        )  # fmt: skip
