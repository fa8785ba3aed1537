"""Launches of one block ride on the launch before them: the block of it that ends last does their work, too.

A launch takes a few microseconds on a GPU, however little it does. That of one block has to wait for all blocks of the
one before it, and so does the block that ends last: each takes a ticket when it is done, and who gets the last one goes
on. Which block that is changes from run to run, what it does then does not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from math import prod

from tracec.codegen.cuda_dialect import memory_type
from tracec.codegen.cuda_entry import PARAMETER_BYTES, Call, Entry, Function, Grid, Head, Routine, View, ceil_div
from tracec.codegen.cuda_share import MANY_THREADS
from tracec.codegen.cuda_source import CudaKernel, finished
from tracec.codegen.cuda_tail import Tail, tail
from tracec.codegen.cuda_tiles import MULTIPROCESSORS
from tracec.codegen.cuda_writer import Parameter
from tracec.ir.kernel import Buffer
from tracec.ir.launch import Argument, CudaLaunch, CudaStep, Tickets
from tracec.ir.plan import Plan

#: Launches whose blocks all run at a time. Where others wait for their places, a block that waits a microsecond for its
#: ticket holds them up; and tickets of more blocks, taken one after another, would take as long as a launch.
MOST_BLOCKS, MOST_THREADS = 8 * MULTIPROCESSORS, 2 * MANY_THREADS
#: Shapes of launches that others ride on: what they have in shared memory leaves room for some more.
SHAPES = frozenset({"map", "row", "full", "column"})
#: Bytes of shared memory that others may have there.
ROOM = 12 * 1024


@dataclass(frozen=True, slots=True)
class JoinedView(View):
    """What ``joined.j2`` needs.

    Attributes:
        functions: Definitions of what is called.
        calls: The calls, in order.
        blocks: Blocks that take tickets; empty where there is one.
    """

    functions: tuple[str, ...]
    calls: tuple[str, ...]
    blocks: str


@dataclass(frozen=True, slots=True)
class Part:
    """One of several launches that become one.

    Attributes:
        kernel: What it runs.
        launch: With which arguments.
        work: As a function; of the first launch its own, if it is not one block's.
        block: Threads that run it.
    """

    kernel: CudaKernel
    launch: CudaLaunch
    work: Entry | Tail
    block: Grid

    @property
    def values(self) -> dict[int, Buffer]:
        """The plan's values that it touches, and as what."""
        (row,) = self.launch.args
        return {v: b for v, b in zip(row, self.kernel.ir.buffers, strict=True) if isinstance(v, int)}

    @property
    def alignment(self) -> dict[int, int]:
        """Of these, the bytes that their addresses must be multiples of."""
        return dict(zip(self.values, self.work.alignment, strict=True))


def join(
    plan: Plan, kernels: Sequence[CudaKernel], steps: Sequence[CudaStep], apart: Collection[str] = ()
) -> tuple[tuple[CudaKernel, ...], tuple[CudaStep, ...]]:
    """Kernels and steps of a program in which launches of one block ride on those before them, where that is sooner.

    Args:
        plan: The plan.
        kernels: Its kernels.
        steps: Its steps.
        apart: Names of kernels that are not to be made: they had too few registers.
    """
    found: list[tuple[CudaKernel | None, CudaStep]] = []
    made: dict[object, CudaKernel] = {}
    at = 0
    while at < len(steps):
        parts = _chain(plan, kernels, steps[at:])
        same = tuple(p.kernel for p in parts), _pattern(parts)
        kernel, launch = _joined(parts, {k.name for k in made.values()}) if len(parts) > 1 else (None, None)
        kernel = made.get(same, kernel)
        if kernel is not None and launch is not None and kernel.name not in apart:
            found.append((made.setdefault(same, kernel), launch))
            at += len(parts)
        else:
            step = steps[at]
            found.append((kernels[step.kernel] if isinstance(step, CudaLaunch) else None, step))
            at += 1
    if len(found) == len(steps):
        return tuple(kernels), tuple(steps)
    return numbered(found)


def numbered(
    found: Iterable[tuple[CudaKernel | None, CudaStep]],
) -> tuple[tuple[CudaKernel, ...], tuple[CudaStep, ...]]:
    """Steps with the numbers of their kernels, in the order of their first launches."""
    numbers: dict[CudaKernel, int] = {}
    steps: list[CudaStep] = []
    for kernel, step in found:
        if kernel is not None and isinstance(step, CudaLaunch):
            step = replace(step, kernel=numbers.setdefault(kernel, len(numbers)))
        steps.append(step)
    return tuple(numbers), tuple(steps)


# -- which ---------------------------------------------------------------------------------------------------


def _chain(plan: Plan, kernels: Sequence[CudaKernel], steps: Sequence[CudaStep]) -> list[Part]:
    """The first step and those that ride on it; none where it is no launch that others may ride on."""
    plain = [(kernels[s.kernel], s) for s in steps[:1] if isinstance(s, CudaLaunch) and _is_plain(kernels[s.kernel], s)]
    if not plain or not _takes_riders(*plain[0]):
        return []
    for step in steps[1:]:
        if not isinstance(step, CudaLaunch) or not _is_plain(kernels[step.kernel], step) or prod(step.grid) > 1:
            break
        plain.append((kernels[step.kernel], step))
    if len(plain) == 1:
        return []
    kernel, launch = plain[0]
    entry = kernel.entries[0]
    block, first = entry.block, None
    if prod(launch.grid) == 1:
        threads = ceil_div(max(k.entries[0].threads for k, _ in plain), 32) * 32
        first = tail(kernel.ir, (threads, 1, 1))
        block = (threads, 1, 1) if first is not None else block
    if prod(block) % 32:
        return []
    parts = [Part(kernel, launch, first or entry, block)]
    for kernel, launch in plain[1:]:
        work = tail(kernel.ir, block)
        if work is None or not _fits(plan, parts, part := Part(kernel, launch, work, block)):
            break
        parts.append(part)
    return parts


def _is_plain(kernel: CudaKernel, launch: CudaLaunch) -> bool:
    """Whether a launch is all that its kernel does, for one tuple of buffers of sizes that do not vary.

    Behind each of its buffers is another value: one that is behind two, as the first state of a recurrent layer's may
    be, has a part in each.
    """
    if (
        len(kernel.entries) > 1
        or kernel.workspace
        or len(launch.args) != 1
        or len({*launch.args[0]}) < len(launch.args[0])
    ):
        return False
    return kernel.entries[0].table is None and not launch.numbers


def _takes_riders(kernel: CudaKernel, launch: CudaLaunch) -> bool:
    entry, blocks = kernel.entries[0], prod(launch.grid)
    if kernel.ir.shape not in SHAPES:
        return False
    few = blocks <= MOST_BLOCKS and blocks * entry.threads <= MOST_THREADS
    # Lanes that are through wait for tickets, while those that still exchange values wait for them.
    return few and not entry.function.view.parts_ways


def _fits(plan: Plan, parts: Sequence[Part], new: Part) -> bool:
    """Whether values that lie in one place are the same value for all of them, and there is room.

    That is shared memory, and parameters: of all values, and of the tickets.
    """
    if len({*new.values, *(v for p in parts for v in p.values)}) >= PARAMETER_BYTES // 8:
        return False
    if sum(p.work.shared_bytes for p in (*parts, new) if isinstance(p.work, Tail)) > ROOM:
        return False
    for part in parts:
        for v, buffer in part.values.items():
            for w, other in new.values.items():
                if v == w and buffer.dtype is not other.dtype:
                    return False
                if v != w and (buffer.role, other.role) != ("in", "in") and plan.overlap(v, w):
                    return False
    return True


# -- as one --------------------------------------------------------------------------------------------------


def _joined(parts: Sequence[Part], taken: Collection[str]) -> tuple[CudaKernel, CudaLaunch]:
    """One kernel that does what several would have done one after another, and its launch.

    Args:
        parts: The launches.
        taken: Names of other kernels.
    """
    first = parts[0]
    entry, blocks = first.kernel.entries[0], prod(first.launch.grid)
    values = {v: f"x{n}" for n, v in enumerate(dict.fromkeys(v for p in parts for v in p.values))}
    several = blocks > 1
    base = "_then_".join(p.kernel.name for p in parts)
    name = next(n for n in chain((base,), (f"{base}_{k}" for k in count(2))) if n not in taken)
    parameters = [_parameter(parts, v, name) for v, name in values.items()]
    leave = entry.function.head
    head = Head(
        name, (*parameters, *[Parameter("unsigned", "tickets", apart=False)] * several), prod(first.block), "unsigned"
    )
    view = JoinedView(
        replace(head.leaving_room(leave.blocks), cluster=leave.cluster),
        tuple(dict.fromkeys(str(p.work.function.beginning(is_called=True)) for p in parts)),
        tuple(f"{p.kernel.name}({', '.join(values[v] for v in p.launch.args[0])});" for p in parts),  # type: ignore
        f"{blocks}u" if several else "",
    )  # fmt: skip
    schedule = "; then ".join(p.work.schedule for p in parts)
    made = Entry(
        Function("joined", view), first.launch.grid, first.block, entry.shared_bytes,
        tuple(max(p.alignment[v] for p in parts if v in p.alignment) for v in values), schedule=schedule,
    )  # fmt: skip
    args: tuple[Argument, ...] = (*values, *[Tickets()] * several)
    calls = (Call(0, tuple(range(len(args)))),)
    kernel = finished(first.kernel.ir, Routine((made,), calls), [p.kernel.ir for p in parts[1:]], first.kernel.less)
    steps = tuple(sorted({n for p in parts for n in p.launch.steps}))
    return kernel, CudaLaunch(0, 0, first.launch.grid, (args,), steps=steps)


def _pattern(parts: Sequence[Part]) -> tuple[tuple[int, ...], ...]:
    """Which buffers of several launches are the same value."""
    numbers = {v: n for n, v in enumerate(dict.fromkeys(v for p in parts for v in p.values))}
    return tuple(tuple(numbers[v] for v in p.values) for p in parts)


def _parameter(parts: Sequence[Part], value: int, name: str) -> Parameter:
    """The declaration of what is behind a value.

    What one part writes and another touches, other blocks write while this one runs: no compiler may take it for its
    own, nor load it by the way for what does not change.
    """
    found = [p.values[value] for p in parts if value in p.values]
    written = any(b.role != "in" for b in found)
    alone = len(found) == 1 or not written
    return Parameter(f"{'' if written else 'const '}{memory_type(found[0].dtype)}", name, alone)
