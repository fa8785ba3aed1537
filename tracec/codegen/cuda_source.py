"""A kernel's functions as a source that compiles by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.codegen.cuda_entry import Call, Entry, Routine
from tracec.codegen.cuda_functions import used_functions
from tracec.codegen.cuda_ladder import rung
from tracec.codegen.cuda_writer import headers
from tracec.codegen.render import render_template
from tracec.ir.kernel import Kernel
from tracec.ir.launch import Argument, CudaLaunch, Workspace

#: What the offset of every array in the workspace is a multiple of.
ALIGNMENT = 256


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A kernel's source.

    Attributes:
        name: The kernel's name, and that of its last function.
        source: CUDA C++ that compiles by itself.
        entries: Its functions: several where all blocks must end one step before the next begins.
        ir: Its loops.
        calls: The launches of its functions that do its work once.
        workspace: Bytes of each array that its functions share among themselves.
        serves_all: Whether it is the same for all sizes, where sizes vary from call to call.
        riders: Loops of other kernels whose work it does when its own is done.
        less: What it is written with less of than at first, since a compiler had too few registers; empty for nothing.
    """

    name: str
    source: str
    entries: tuple[Entry, ...]
    ir: Kernel
    calls: tuple[Call, ...] = ()
    workspace: tuple[int, ...] = ()
    serves_all: bool = True
    riders: tuple[Kernel, ...] = ()
    less: str = ""

    @property
    def arrays(self) -> tuple[Workspace, ...]:
        """Where its own arrays lie in the workspace."""
        return tuple(Workspace(sum(map(_aligned, self.workspace[:n]))) for n in range(len(self.workspace)))

    @property
    def workspace_bytes(self) -> int:
        """The memory that they take."""
        return sum(map(_aligned, self.workspace))


def finished(kernel: Kernel, routine: Routine, riders: Sequence[Kernel] = (), less: str | None = None) -> CudaKernel:
    """Functions as a source that compiles by itself.

    Args:
        kernel: Whose work they do.
        routine: The functions.
        riders: Other kernels whose work they do then.
        less: What they are written with less of; what the present rung has less of if it is not given.
    """
    less = str(rung()) if less is None else less
    entries = routine.entries
    name = entries[-1].name if riders else kernel.name
    source = write_source(kernel, entries, riders, less)
    return CudaKernel(name, source, entries, kernel, routine.calls, routine.workspace, riders=tuple(riders), less=less)


def write_source(kernel: Kernel, entries: Sequence[Entry], riders: Sequence[Kernel], less: str) -> str:
    """The text of functions, and of what they need.

    Args:
        kernel: Whose work they do.
        entries: The functions.
        riders: Other kernels whose work they do then.
        less: What they are written with less of; empty for nothing.
    """
    texts = [str(e.function) for e in entries]
    body = "\n".join(texts)
    called = used_functions(body)
    return render_template(
        "cuda/source.j2",
        comments=comments(kernel, entries, riders, less),
        headers=headers("\n".join((*called, body))),
        functions=called,
        entries=texts,
    )


def launches(number: int, kernel: CudaKernel, values: Sequence[int]) -> list[CudaLaunch]:
    """One run of a kernel that has no table.

    Args:
        number: Its index among the program's kernels.
        kernel: The kernel.
        values: The plan's value behind each of its buffers.
    """
    behind: tuple[Argument, ...] = (*values, *kernel.arrays)
    return [
        CudaLaunch(number, c.entry, entry.grid, (tuple(behind[a] for a in c.args),), numbers=entry.numbers)
        for c in kernel.calls
        if 0 not in (entry := kernel.entries[c.entry]).grid
    ]


def comments(
    kernel: Kernel, entries: Sequence[Entry], riders: Sequence[Kernel] = (), less: str = ""
) -> tuple[str, ...]:
    """What stands above a kernel: its name and shape, how it is scheduled, what is fused in it, the user's lines."""
    lines = [f"{kernel.name}: {kernel.shape}; {'; '.join(e.schedule for e in entries)}"]
    if less:
        lines.append(f"since registers would be spilled: {less}")
    for one in (kernel, *riders):
        if one is not kernel:
            lines.append(f"then {one.name}: {one.shape}")
        if one.ops:
            lines.append(f"ops: {', '.join(one.ops)}")
        for source in one.sources:
            lines.append(f"{source}: {source.text}".rstrip(": "))
    return tuple(line.rstrip("\\") for line in lines)  # a backslash would take the next line into the comment


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT
