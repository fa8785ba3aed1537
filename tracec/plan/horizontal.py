"""Horizontal fusion: kernels that differ in their buffers alone, as the updates of all parameters, are one launch.

The kernel is given a table of buffers, a row for each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracec.ir.extent import is_varying
from tracec.ir.kernel import Buffer, Const, Expr, Kernel, Load, Loop, Store, Var, expressions, subexpressions, walk
from tracec.ir.node import Node
from tracec.ir.plan import Refused
from tracec.plan.loops import rewrite_kernel

#: A CUDA launch passes at most 4 KB of parameters: pointers and sizes.
MAX_POINTERS = 400
SIZE = -1
#: Positions in runs are 32 bits.
LARGEST = 1 << 31


@dataclass(frozen=True, eq=False)
class Work:
    """A launch before memory is planned.

    Attributes:
        kernel: What runs.
        rows: For each run, the node that each buffer holds.
        sizes: For each run, the extent of the outermost loop, where that is a parameter.
    """

    kernel: Kernel
    rows: tuple[tuple[Node, ...], ...]
    sizes: tuple[int, ...] = ()

    def reads(self) -> list[Node]:
        return [n for row in self.rows for n, b in zip(row, self.kernel.buffers, strict=True) if b.role != "out"]

    def writes(self) -> list[Node]:
        return [n for row in self.rows for n, b in zip(row, self.kernel.buffers, strict=True) if b.role != "in"]


def any_size(kernel: Kernel) -> tuple[Kernel, int] | None:
    """The kernel with its one loop's extent as a parameter, and that extent; None where it depends on the extent."""
    if kernel.shape != "map":
        return None
    loop = kernel.body[0]
    if not isinstance(loop, Loop):  # a single point
        loop = Loop(Var("i0", 1), kernel.body)
    size = loop.var.extent
    if size >= LARGEST or is_varying(size):
        return None
    whole = Var(loop.var.name, SIZE)
    for stmt in walk(loop.body):
        if isinstance(stmt, Loop):
            return None
        for e in expressions(stmt):
            for part in subexpressions(e):
                if isinstance(part, Load) and part.index != loop.var and not isinstance(part.index, Const):
                    return None
                if isinstance(part, Const) and is_varying(part.value):
                    return None
        if isinstance(stmt, Store) and stmt.index != loop.var and size != 1:
            return None
    buffers = tuple(_formal(b, size) for b in kernel.buffers)
    if any(b is None for b in buffers):
        return None

    def swap(e: Expr) -> Expr | None:
        return whole if e == loop.var else None

    body = rewrite_kernel(replace(kernel, body=loop.body), swap).body
    formal = tuple(b for b in buffers if b is not None)
    return replace(kernel, buffers=formal, body=(Loop(whole, body, loop.kind),)), size


def _formal(buffer: Buffer, size: int) -> Buffer | None:
    if buffer.size == size and size != 1:
        return replace(buffer, shape=(SIZE,))
    return replace(buffer, shape=()) if buffer.size == 1 else None


def join_alike(works: Sequence[object]) -> tuple[list[object], list[Refused]]:
    """Put launches of the same loops over different buffers into one, at the place of the last."""
    refused: list[Refused] = []
    alike: dict[object, list[int]] = {}
    forms: dict[int, tuple[Kernel, int]] = {}
    for k, work in enumerate(works):
        if isinstance(work, Work) and (form := any_size(work.kernel)) is not None:
            forms[k] = form
            key = (form[0].buffers, form[0].body)
            alike.setdefault(key, []).append(k)
    producer = {n: k for k, w in enumerate(works) for n in _writes(w)}
    first_use: dict[int, int] = {}
    for k, work in enumerate(works):
        for n in _reads(work):
            if n in producer:
                first_use.setdefault(producer[n], k)
    taken: dict[int, Work | None] = {}
    for members in alike.values():
        for chunk in _chunks(members, len(forms[members[0]][0].buffers)):
            late = chunk[-1]
            fine = [k for k in chunk if first_use.get(k, len(works)) > late]
            for k in set(chunk) - set(fine):
                work = works[k]
                assert isinstance(work, Work)
                name = "+".join(work.kernel.ops[:4])
                refused.append(Refused("horizontal", name, name, "its result is needed before the others can run"))
            if len(fine) < 2:
                continue
            rows = tuple(row for k in fine for row in _rows(works[k]))
            sources = tuple(dict.fromkeys(s for k in fine for s in forms[k][0].sources))
            kernel = replace(forms[fine[0]][0], sources=sources)
            for k in fine:
                taken[k] = None
            taken[fine[-1]] = Work(kernel, rows, tuple(forms[k][1] for k in fine))
    result: list[object] = []
    for k, w in enumerate(works):
        new = taken.get(k, w)
        if new is not None:
            result.append(new)
    return result, refused


def _chunks(members: list[int], buffers: int) -> list[list[int]]:
    most = max(1, MAX_POINTERS // max(buffers, 1))
    return [members[i : i + most] for i in range(0, len(members), most)]


def _rows(work: object) -> tuple[tuple[Node, ...], ...]:
    assert isinstance(work, Work)
    return work.rows


def _reads(work: object) -> list[Node]:
    return work.reads()  # type: ignore[attr-defined, no-any-return]


def _writes(work: object) -> list[Node]:
    return work.writes()  # type: ignore[attr-defined, no-any-return]
