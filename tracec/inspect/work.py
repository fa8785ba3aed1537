"""What the steps of a plan have to do: bytes that they read and write, and scalar operations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tracec.ir.extent import plain
from tracec.ir.kernel import Call, Kernel, Load, Loop, Stmt, Store, Update, expressions, subexpressions
from tracec.ir.plan import Branch, Launch, LibraryCall, Plan, Repeat, Step, While

#: Operations that compute nothing: they choose, or say the same number otherwise.
_FREE = {"cast", "bitcast", "select"}


@dataclass(frozen=True, slots=True)
class Work:
    """What a step has to do.

    Attributes:
        read: Bytes of memory that it reads, each counted once.
        written: Bytes that it writes.
        operations: Scalar operations; a multiplication and an addition are two. Indices are not counted.
        exact: Whether it is known; a loop of no fixed length counts as one turn, and a branch as the larger one.
    """

    read: int = 0
    written: int = 0
    operations: int = 0
    exact: bool = True

    @property
    def moved(self) -> int:
        """Bytes that it reads and writes."""
        return self.read + self.written

    def __add__(self, other: Work) -> Work:
        return Work(
            self.read + other.read, self.written + other.written, self.operations + other.operations,
            self.exact and other.exact,
        )  # fmt: skip

    def __mul__(self, times: int) -> Work:
        return Work(self.read * times, self.written * times, self.operations * times, self.exact)


def work_of(plan: Plan, step: Step) -> Work:
    """What a step of a plan has to do."""
    match step:
        case Launch():
            sizes = step.sizes or (None,) * len(step.args)
            return sum((_of_kernel(plan.kernels[step.kernel], size) for size in sizes), Work())
        case LibraryCall():
            return _of_library(plan, step)
        case Repeat():
            return of_all(step.body) * int(plain(step.length))
        case Branch():
            larger = max(map(of_all, step.bodies), key=lambda w: w.moved)
            return Work(larger.read, larger.written, larger.operations, exact=False)
        case While():
            turn = of_all(step.condition) + of_all(step.body)
            return turn + Work(exact=False) + of_all(step.finish)


def of_all(plan: Plan) -> Work:
    """What all steps of a plan have to do."""
    return sum((work_of(plan, s) for s in plan.steps), Work())


def _of_library(plan: Plan, step: LibraryCall) -> Work:
    types = [plan.values[i].type for i in step.inputs]
    written = plain(plan.values[step.output].type.nbytes)
    if step.routine != "gemm":
        return Work(sum(plain(t.nbytes) for t in types), written, exact=False)
    params = dict(step.params)
    count, (m, n, k) = math.prod(map(plain, params["batch"])), (plain(params[name]) for name in "mnk")
    elements = count * m * k, count * k * n  # of values that may be larger, or the same for the whole batch
    read = sum(min(plain(t.nbytes), e * t.dtype.itemsize) for t, e in zip(types, elements, strict=True))
    return Work(read, written, 2 * count * m * n * k)


def _of_kernel(kernel: Kernel, size: int | None) -> Work:
    """What one run of a kernel has to do.

    Args:
        kernel: The kernel.
        size: The extent of its outermost loop, where that is a size parameter.
    """
    loads: Counter[str] = Counter()
    stores: Counter[str] = Counter()
    operations = _count(kernel.body, 1, 1, size, loads, stores)
    read = written = 0
    for b in kernel.buffers:
        most = plain(b.nbytes) if size is None else max(loads[b.name], stores[b.name]) * b.dtype.itemsize
        read += min(loads[b.name] * b.dtype.itemsize, most)
        written += min(stores[b.name] * b.dtype.itemsize, most)
    return Work(read, written, operations)


def _count(
    body: Sequence[Stmt], times: int, around: int, size: int | None, loads: Counter[str], stores: Counter[str]
) -> int:
    """Note the loads and stores of statements that run so many times; their operations.

    Args:
        body: The statements.
        times: How often they run.
        around: Iterations of the parallel loop around them, among which shared loops are parted.
        size: The extent of a loop whose own is a parameter.
        loads: Buffer → how many elements are read.
        stores: Buffer → how many are written.
    """
    operations = 0
    for stmt in body:
        if isinstance(stmt, Loop):
            extent = plain(stmt.var.extent)
            extent = size or 0 if extent == -1 else extent
            each, parted = times * extent, around
            if stmt.kind == "parallel":
                parted = extent
            elif stmt.kind == "share":
                each, parted = -(-each // max(around, 1)), 1
            operations += _count(stmt.body, each, parted, size, loads, stores)
            continue
        if isinstance(stmt, Store):
            stores[stmt.buffer] += times
            if stmt.add:
                loads[stmt.buffer] += times
        operations += times * (isinstance(stmt, Update) or (isinstance(stmt, Store) and stmt.add))
        for root in expressions(stmt):
            for e in subexpressions(root):
                if isinstance(e, Load):
                    loads[e.buffer] += times
                elif isinstance(e, Call) and e.op not in _FREE and not (isinstance(stmt, Store) and root is stmt.index):
                    operations += times
    return operations
