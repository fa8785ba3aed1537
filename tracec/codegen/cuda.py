"""Plans as CUDA C++: a source for each kernel, and how it is launched, as data.

Each kernel goes to the module of its shape, which chooses a schedule by the loops' extents, writes what one
thread does, and fills the shape's template. Nothing here needs a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_columns import column_entry
from tracec.codegen.cuda_contraction import contraction_entries
from tracec.codegen.cuda_entry import Entry
from tracec.codegen.cuda_functions import used_functions
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_rows import row_entry
from tracec.codegen.cuda_runs import is_sized, runs_entry
from tracec.codegen.cuda_scan import scan_entry
from tracec.codegen.cuda_transpose import transpose_entry
from tracec.codegen.cuda_writer import headers
from tracec.codegen.render import render_template
from tracec.errors import CompileError
from tracec.ir.kernel import Kernel
from tracec.ir.launch import Argument, Clear, CudaLaunch, CudaStep, Workspace
from tracec.ir.plan import Launch, Plan

__all__ = ["Clear", "CudaKernel", "CudaLaunch", "CudaProgram", "Workspace", "render", "render_kernel"]

#: Raised when kernels change so much that what was measured of them says nothing any more.
GENERATION = 1

SHAPES: dict[str, Callable[[Kernel, str], Entry]] = {
    "map": map_entry,
    "row": row_entry,
    "full": row_entry,
    "column": column_entry,
    "transpose": transpose_entry,
    "scan": scan_entry,
}


#: What the offset of every array in the workspace is a multiple of.
ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A kernel's source.

    Attributes:
        name: The kernel's name, and that of its last function.
        source: CUDA C++ that compiles by itself.
        entries: Its functions, in launch order: several where all blocks must end one step before the next begins.
        ir: Its loops.
    """

    name: str
    source: str
    entries: tuple[Entry, ...]
    ir: Kernel


@dataclass(frozen=True, slots=True)
class CudaProgram:
    """A plan's kernels and launches.

    Attributes:
        arch: What it is for, ``sm_90``.
        kernels: Distinct kernels, as in the plan.
        steps: Launches and library calls, in order.
        workspace_bytes: Memory that steps need besides the plan's arena; each may use all of it.
    """

    arch: str
    kernels: tuple[CudaKernel, ...]
    steps: tuple[CudaStep, ...]
    workspace_bytes: int = 0

    def __str__(self) -> str:
        return "\n".join(k.source for k in self.kernels)


def render(plan: Plan, arch: str) -> CudaProgram:
    """Write every kernel of a plan and list its launches.

    Args:
        plan: What to write.
        arch: GPU architecture, ``sm_90``.
    """
    most = [1] * len(plan.kernels)
    for step in plan.steps:
        if isinstance(step, Launch):
            most[step.kernel] = max(most[step.kernel], len(step.args))
    kernels = tuple(render_kernel(k, runs) for k, runs in zip(plan.kernels, most, strict=True))
    steps: list[CudaStep] = []
    for step in plan.steps:
        steps.extend(_launches(step, kernels[step.kernel]) if isinstance(step, Launch) else [step])
    return CudaProgram(arch, kernels, tuple(steps), max((workspace_bytes(k) for k in kernels), default=0))


def workspace(kernel: CudaKernel) -> tuple[Workspace, ...]:
    """Where the arrays that a kernel's functions share lie in the workspace."""
    sizes = kernel.entries[0].workspace
    return tuple(Workspace(sum(map(_aligned, sizes[:n]))) for n in range(len(sizes)))


def workspace_bytes(kernel: CudaKernel) -> int:
    """The memory that a kernel's functions share."""
    return sum(map(_aligned, kernel.entries[0].workspace))


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def render_kernel(kernel: Kernel, runs: int = 1) -> CudaKernel:
    """Write one kernel.

    Args:
        kernel: What to write.
        runs: The most runs of one of its launches.

    Raises:
        CompileError: there is no template for it, or its loops are not those of its shape.
    """
    entries = _entries(kernel, runs)
    body = "\n".join(e.text for e in entries)
    called = used_functions(body)
    source = render_template(
        "cuda/source.j2",
        comments=comments(kernel, entries),
        headers=headers("\n".join((*called, body))),
        functions=called,
        entries=[e.text for e in entries],
    )
    return CudaKernel(kernel.name, source, entries, kernel)


def _entries(kernel: Kernel, runs: int) -> tuple[Entry, ...]:
    if is_sized(kernel):
        return (runs_entry(kernel, kernel.name, runs),)
    if kernel.shape == "scatter":
        return _scatter(kernel)
    if kernel.shape == "contraction":
        return contraction_entries(kernel, kernel.name)
    build = SHAPES.get(kernel.shape)
    if build is None:
        known = ", ".join((*SHAPES, "scatter", "contraction"))
        raise CompileError(f"kernel {kernel.name}: no CUDA template for shape {kernel.shape!r}, known are {known}")
    return (build(kernel, kernel.name),)


def _scatter(kernel: Kernel) -> tuple[Entry, ...]:
    """The start in a function of its own: positions are written when all of it is there, each column in order."""
    start, rest = kernel.body[:1], kernel.body[1:]
    if not rest:
        return (map_entry(kernel, kernel.name),)
    return map_entry(kernel, f"{kernel.name}_start", start), map_entry(kernel, kernel.name, rest)


def comments(kernel: Kernel, entries: Sequence[Entry]) -> tuple[str, ...]:
    """What stands above a kernel: its name and shape, how it is scheduled, what is fused in it, the user's lines."""
    lines = [f"{kernel.name}: {kernel.shape}; {'; '.join(e.schedule for e in entries)}"]
    if kernel.ops:
        lines.append(f"ops: {', '.join(kernel.ops)}")
    for source in kernel.sources:
        lines.append(f"{source}: {source.text}".rstrip(": "))
    return tuple(line.rstrip("\\") for line in lines)  # a backslash would take the next line into the comment


def _launches(step: Launch, kernel: CudaKernel) -> list[CudaLaunch]:
    found: list[CudaLaunch] = []
    if kernel.entries[0].table is None:  # all functions for one run, then for the next: they share the workspace
        for args in step.args:
            given: tuple[Argument, ...] = (*args, *workspace(kernel))
            found += [
                CudaLaunch(step.kernel, number, entry.grid, (given,))
                for number, entry in enumerate(kernel.entries)
                if 0 not in entry.grid
            ]
        return found
    for number, entry in enumerate(kernel.entries):
        assert entry.table is not None
        for first in range(0, len(step.args), entry.table.capacity):
            last = first + entry.table.capacity
            rows, sizes = step.args[first:last], step.sizes[first:last]
            blocks = entry.table.starts(sizes)[-1]
            if blocks:
                found.append(CudaLaunch(step.kernel, number, (blocks, 1, 1), rows, sizes))
    return found
