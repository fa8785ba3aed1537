"""Plans as CUDA C++: a source for each kernel, and how it is launched, as data.

Each kernel goes to the module of its shape, which chooses a schedule by the loops' extents, writes what one
thread does, and fills the shape's template. Nothing here needs a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tracec.codegen.cuda_columns import column_entry
from tracec.codegen.cuda_contraction import contraction_routine
from tracec.codegen.cuda_entry import Entry, Routine, one_after_another
from tracec.codegen.cuda_joined import join
from tracec.codegen.cuda_ladder import ladder, on_rung
from tracec.codegen.cuda_map import map_entry
from tracec.codegen.cuda_overlap import following, may_overlap
from tracec.codegen.cuda_parts import parts_routine
from tracec.codegen.cuda_ranks import ranks_of, ranks_routine
from tracec.codegen.cuda_rows import row_entry
from tracec.codegen.cuda_runs import is_sized, runs_entry
from tracec.codegen.cuda_scan import scan_routine
from tracec.codegen.cuda_scatter import atomic_routine, scatter_routine
from tracec.codegen.cuda_sizes import is_open, with_numbers
from tracec.codegen.cuda_sorted import with_followers
from tracec.codegen.cuda_source import CudaKernel, comments, finished, launches
from tracec.codegen.cuda_stripes import stripe_entry
from tracec.codegen.cuda_transpose import transpose_entry
from tracec.codegen.sizes import Table
from tracec.errors import CompileError
from tracec.ir.conditions import unnoted, writing
from tracec.ir.extent import is_varying, plain
from tracec.ir.kernel import Kernel
from tracec.ir.launch import CudaLaunch, CudaStep, Workspace
from tracec.ir.plan import Launch, LibraryCall, Plan, may_vary
from tracec.ir.resize import Resized, Settled
from tracec.ir.room import room_of

__all__ = ["CudaKernel", "CudaLaunch", "CudaProgram", "Workspace", "comments", "render", "render_kernel"]

#: Name of a kernel → which of the ways to write it.
Rungs = Mapping[str, int]
FIRST_RUNGS: Rungs = {}

#: Raised when kernels, or the way they are timed, change so much that what was measured says nothing any more.
GENERATION = 2

SHAPES: dict[str, Callable[[Kernel, str], Entry]] = {
    "map": map_entry,
    "row": row_entry,
    "full": row_entry,
    "column": column_entry,
    "stripe": stripe_entry,
    "transpose": transpose_entry,
}
#: Those that may take several functions.
ROUTINES: dict[str, Callable[[Kernel, str], Routine]] = {
    "scan": scan_routine,
    "scatter": scatter_routine,
    "atomic": atomic_routine,
    "contraction": contraction_routine,
}


@dataclass(frozen=True, slots=True)
class CudaProgram:
    """A plan's kernels and launches.

    Attributes:
        arch: What it is for, ``sm_90``.
        kernels: Distinct kernels: the plan's, then those of its library routines. Where some do the work of several,
            those that are launched.
        steps: Launches and library calls, in order.
        workspace_bytes: Memory that steps need besides the plan's arena; each may use all of it.
        routines: Number of a library call among the plan's steps → that of its kernel.
        clusters: Whether blocks may form clusters.
        overlaps: Whether a launch may begin before the one in front of it has ended.
    """

    arch: str
    kernels: tuple[CudaKernel, ...]
    steps: tuple[CudaStep, ...]
    workspace_bytes: int = 0
    routines: tuple[tuple[int, int], ...] = ()
    clusters: bool = True
    overlaps: bool = False

    @property
    def of_one_size(self) -> tuple[str, ...]:
        """The kernels that are written anew for each size, where sizes vary from call to call."""
        return tuple(f"{k.name} ({k.ir.shape})" for k in self.kernels if not k.serves_all)

    def __str__(self) -> str:
        return "\n".join(k.source for k in self.kernels)


def render(
    plan: Plan, arch: str, joined: bool = True, clusters: bool = True, overlaps: bool = False,
    rungs: Rungs = FIRST_RUNGS,
) -> CudaProgram:  # fmt: skip
    """Write every kernel of a plan and list its launches.

    Args:
        plan: What to write.
        arch: GPU architecture, ``sm_90``.
        joined: Whether launches of one block may ride on those before them.
        clusters: Whether blocks may form clusters.
        overlaps: Whether a launch may begin before the one in front of it has ended, where GPUs can do that.
        rungs: Name of a kernel → its rung (`tracec.codegen.cuda_ladder`), where that is not the first. Those of which
            one does the work, if its name is there, are launched one by one.
    """
    with room_of(arch, clusters):
        program = replace(_rendered(plan, arch, rungs), clusters=clusters, overlaps=overlaps and may_overlap(arch))
        if may_vary(plan):
            return _overlapping(program)
        kernels, steps = with_followers(plan, program.kernels, program.steps, rungs)
        if joined:
            kernels, steps = join(plan, kernels, steps, rungs.keys())
        workspace = max((k.workspace_bytes for k in kernels), default=0)
        return _overlapping(replace(program, kernels=kernels, steps=steps, workspace_bytes=workspace))


def _overlapping(program: CudaProgram) -> CudaProgram:
    """A program whose kernels wait for those before them, if they may begin before these have ended."""
    return replace(program, kernels=tuple(map(following, program.kernels))) if program.overlaps else program


def _rendered(plan: Plan, arch: str, rungs: Rungs) -> CudaProgram:
    if not may_vary(plan):
        every = zip(plan.kernels, _runs(plan), strict=True)
        return _program(plan, arch, [render_kernel(k, n, rung=rungs.get(k.name, 0)) for k, n in every], rungs)
    table, kernels = Table(), []
    for kernel, runs in zip(plan.kernels, _runs(plan), strict=True):
        if is_open(kernel) and kernel.name not in rungs:
            with writing(table.write):
                kernels.append(render_kernel(kernel, runs, table))
        else:
            kernels.append(_of_one_size(Settled({}).kernel(kernel), runs, rungs))
    known: dict[int, CudaKernel] = {}
    for number, step in enumerate(plan.steps):
        if isinstance(step, LibraryCall) and step.inputs and is_varying(plan.values[step.inputs[0]].type.shape):
            with writing(table.write):
                routine = render_routine(plan, step, table)
            if routine is not None:
                known[number] = routine
    with unnoted():
        return _program(plan, arch, kernels, rungs, known)


def _of_one_size(kernel: Kernel, runs: int, rungs: Rungs) -> CudaKernel:
    return replace(render_kernel(kernel, runs, rung=rungs.get(kernel.name, 0)), serves_all=False)


def at_sizes(program: CudaProgram, plan: Plan, new: Resized, rungs: Rungs = FIRST_RUNGS) -> CudaProgram:
    """The program of a plan for some sizes: kernels that serve all are as they are, others are written anew.

    A kernel that is on another rung than the first serves no other size: the conditions that were noted when it was
    written for all of them are those of the first rung.

    Args:
        program: The program for many sizes.
        plan: The plan, for these sizes.
        new: Gives what is for many sizes for these.
        rungs: As for `render`.
    """
    kernels = list(program.kernels[: len(plan.kernels)])
    with room_of(program.arch, program.clusters):
        for k, runs in enumerate(_runs(plan)):
            if not kernels[k].serves_all or plan.kernels[k].name in rungs:
                kernels[k] = _of_one_size(new.kernel(plan.kernels[k]), runs, rungs)
            else:
                kernels[k] = _resized(kernels[k], new)
        routines = ((number, program.kernels[k]) for number, k in program.routines)
        known = {number: _resized(kernel, new) for number, kernel in routines if kernel.name not in rungs}
        made = _program(plan, program.arch, kernels, rungs, known)
        return _overlapping(replace(made, clusters=program.clusters, overlaps=program.overlaps))


def _resized(kernel: CudaKernel, new: Resized) -> CudaKernel:
    """A kernel that serves all sizes, for some."""
    entries = (
        replace(e, grid=new.number(e.grid), numbers=tuple(replace(n, value=new.number(n.value)) for n in e.numbers))
        for e in kernel.entries
    )
    return replace(kernel, entries=tuple(entries), workspace=new.number(kernel.workspace))


def _runs(plan: Plan) -> list[int]:
    """For each kernel the most runs of one of its launches."""
    most = [1] * len(plan.kernels)
    for step in plan.steps:
        if isinstance(step, Launch):
            most[step.kernel] = max(most[step.kernel], len(step.args))
    return most


def _program(
    plan: Plan, arch: str, kernels: list[CudaKernel], rungs: Rungs, known: Mapping[int, CudaKernel] | None = None
) -> CudaProgram:
    """Kernels, those of library routines, and the launches of all of them.

    Args:
        plan: The plan.
        arch: GPU architecture.
        kernels: Those of the plan.
        rungs: As for `render`.
        known: Those of some of its steps' routines.
    """
    steps: list[CudaStep] = []
    routines: dict[CudaKernel, int] = {}
    found: list[tuple[int, int]] = []
    for at, step in enumerate(plan.steps):
        if isinstance(step, Launch):
            steps += [replace(launch, steps=(at,)) for launch in _launches(step, kernels[step.kernel])]
            continue
        assert isinstance(step, LibraryCall), "loops are written out"
        kernel = (known or {}).get(at) or render_routine(plan, step, rungs=rungs)
        if kernel is None:
            steps.append(step)
        elif plan.values[step.output].type.size:
            number = routines.setdefault(kernel, len(kernels))
            kernels += [kernel] * (number == len(kernels))
            found += [(at, number)] * (at in (known or {}))
            steps += [replace(x, steps=(at,)) for x in launches(number, kernel, (*step.inputs, step.output))]
    workspace = max((k.workspace_bytes for k in kernels), default=0)
    return CudaProgram(arch, tuple(kernels), tuple(steps), workspace, tuple(found))


def render_kernel(kernel: Kernel, runs: int = 1, table: Table | None = None, rung: int = 0) -> CudaKernel:
    """Write one kernel.

    Args:
        kernel: What to write.
        runs: The most runs of one of its launches.
        table: The numbers that it is given, where they are for many sizes.
        rung: Which of the ways to write it, by the ladder of its shape; a way that there is no place for, such as too
            much of a row in shared memory, is the one before it.

    Raises:
        CompileError: there is no template for it, or its loops are not those of its shape.
    """
    try:
        with on_rung(ladder(kernel.shape)[rung]):
            routine = _routine(kernel, runs)
            return finished(kernel, routine if table is None else _numbered(routine, table))
    except CompileError:
        if not rung:
            raise
        return render_kernel(kernel, runs, table, rung - 1)


def _numbered(routine: Routine, table: Table) -> Routine:
    """Functions that are given the numbers that they name."""
    return replace(routine, entries=tuple(with_numbers(e, table) for e in routine.entries))


def render_routine(
    plan: Plan, step: LibraryCall, table: Table | None = None, rungs: Rungs = FIRST_RUNGS
) -> CudaKernel | None:
    """Functions for a library routine of these operands; None where this target has none.

    Args:
        plan: The plan.
        step: The routine.
        table: The numbers that the functions are given, where they are for many sizes.
        rungs: As for `render`.
    """
    ranks = ranks_of(step)
    if ranks is None:
        return None
    source = plan.values[step.inputs[0]].type
    if table is None:
        source, ranks = source.with_shape(map(plain, source.shape)), ranks.now
    name = ranks.named(f"{source.dtype.short}_{'_'.join(map(str, source.shape))}_")
    with on_rung(ladder("sort")[rungs.get(name, 0)]):
        kernel, routine = ranks_routine(name, source, ranks)
        return finished(kernel, routine if table is None else _numbered(routine, table))


def _routine(kernel: Kernel, runs: int) -> Routine:
    if is_sized(kernel):
        return one_after_another(kernel, [runs_entry(kernel, kernel.name, runs)])
    if kernel.shape == "map" and (parts := parts_routine(kernel, kernel.name)) is not None:
        return parts
    if kernel.shape in ROUTINES:
        return ROUTINES[kernel.shape](kernel, kernel.name)
    build = SHAPES.get(kernel.shape)
    if build is None:
        known = ", ".join((*SHAPES, *ROUTINES))
        raise CompileError(f"kernel {kernel.name}: no CUDA template for shape {kernel.shape!r}, known are {known}")
    return one_after_another(kernel, [build(kernel, kernel.name)])


def _launches(step: Launch, kernel: CudaKernel) -> list[CudaLaunch]:
    found: list[CudaLaunch] = []
    if kernel.entries[0].table is None:
        for args in step.args:  # the whole of one run before the next: they share the workspace
            found += launches(step.kernel, kernel, args)
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
