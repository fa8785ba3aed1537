"""Runs kernels and plans with NumPy: slow, plain, and the reference that generated code is tested against.

Every loop that is open, save the serial and shared ones, is an axis of all arrays inside of it, so that its
iterations run at once; a value of depth d has d axes, of size 1 where it does not depend on that loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.kernel import (
    Acc,
    Call,
    Const,
    Div,
    Expr,
    Kernel,
    Let,
    Linear,
    Load,
    Loop,
    Mod,
    Ref,
    Scratch,
    Stmt,
    Store,
    Update,
    Var,
    identity,
)
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import Branch, LibraryCall, Plan, Repeat, Structure, While
from tracec.ir.types import TensorType
from tracec.runtime.scalars import COMBINE, compute, convert

Array = np.ndarray[Any, Any]

#: Loops are cut into pieces so that no array has many more elements.
_MOST_ELEMENTS = 1 << 22


def run_kernel(kernel: Kernel, buffers: Sequence[Array], size: int = -1) -> None:
    """Run a kernel; what it stores is written into the arrays.

    Args:
        kernel: What to run.
        buffers: A contiguous array of the buffer's dtype for each formal buffer, of any shape.
        size: Extent of the outermost loop, where that is left to the launch.

    Raises:
        ArgumentError: the arrays do not fit the buffers.
        IndexError: an element outside of a buffer is read or written.
    """
    if len(buffers) != len(kernel.buffers):
        raise ArgumentError(f"kernel {kernel.name}: takes {len(kernel.buffers)} buffers, {len(buffers)} given")
    arrays: dict[str, _Memory] = {}
    for formal, array in zip(kernel.buffers, buffers, strict=True):
        fits = array.dtype == formal.dtype.numpy and (-1 in formal.shape or array.size == formal.size)
        if not fits or not array.flags.c_contiguous:
            raise ArgumentError(
                f"kernel {kernel.name}: buffer {formal.name} is {formal.dtype.short}{list(formal.shape)}, "
                f"given {array.dtype} of shape {array.shape}{'' if array.flags.c_contiguous else ', not contiguous'}"
            )
        arrays[formal.name] = _Memory(array.reshape(-1), 0)
    with np.errstate(all="ignore"):
        _Interpreter(kernel, arrays, size).body(kernel.body)


def run_plan(plan: Plan, inputs: Sequence[Array]) -> list[Array]:
    """Run a plan; inputs that it writes in place are overwritten.

    Args:
        plan: What to run.
        inputs: A contiguous array for each of the plan's inputs.

    Returns:
        The outputs, in order; an output that is written in place of an input is that input's array.

    Raises:
        ArgumentError: the inputs do not fit.
    """
    if len(inputs) != len(plan.inputs):
        raise ArgumentError(f"plan: takes {len(plan.inputs)} inputs, {len(inputs)} given")
    arena = np.zeros(plan.memory.peak_bytes, np.uint8)
    arrays: dict[int, Array] = dict(zip(plan.inputs, inputs, strict=True))
    for i, value in enumerate(plan.values):
        if i in arrays:
            continue
        if value.place == "arena":
            piece = arena[value.offset : value.offset + value.type.nbytes]
            arrays[i] = piece.view(value.type.dtype.numpy).reshape(value.type.shape)
        elif value.place == "part":
            whole = arrays[value.index].reshape(-1).view(np.uint8)
            piece = whole[value.offset : value.offset + value.type.nbytes]
            arrays[i] = piece.view(value.type.dtype.numpy).reshape(value.type.shape)
        else:
            arrays[i] = np.empty(value.type.shape, value.type.dtype.numpy)
    for step in plan.steps:
        if isinstance(step, LibraryCall):
            call_library(plan, step, arrays)
            continue
        if isinstance(step, (Repeat, Branch, While)):
            run_structure(step, arrays)
            continue
        for run, args in enumerate(step.args):
            size = step.sizes[run] if step.sizes else -1
            run_kernel(plan.kernels[step.kernel], [arrays[i] for i in args], size)
    return [arrays[i] for i in plan.outputs]


def call_library(plan: Plan, step: LibraryCall, arrays: Mapping[int, Array]) -> None:
    """Run a routine with NumPy; ``arrays`` has each value's memory by the value's index."""
    if step.routine == "gemm":
        _gemm(arrays[step.inputs[0]], arrays[step.inputs[1]], arrays[step.output], dict(step.params))
        return
    operands = step.operands((arrays[i].reshape(plan.values[i].type.shape) for i in step.inputs), np)
    result = OPERATORS[step.operator].eager(np, *operands, **dict(step.params))
    arrays[step.output].reshape(-1)[:] = np.asarray(result).reshape(-1)


def run_structure(step: Structure, arrays: Mapping[int, Array]) -> None:
    """Run a loop or a branch; ``arrays`` has each value's memory by the value's index."""
    match step:
        case Repeat():
            _repeat(step, arrays)
        case Branch():
            n = len(step.inputs)
            types = _types(step.bodies[0])
            holds = _piece(step, arrays, 0, TensorType(dt.bool_, ()))
            body = step.bodies[0] if bool(holds) else step.bodies[1]
            found = run_plan(body, [_piece(step, arrays, k, t) for k, t in zip(range(1, n), types, strict=True)])
            _write(step, arrays, found)
        case While():
            n, m = step.carries, step.carries + step.read
            types = [*_types(step.condition), *_types(step.body)[n:]]
            given = [_piece(step, arrays, k, t) for k, t in enumerate(types)]
            carried = given[:n]
            while bool(run_plan(step.condition, [*carried, *given[n:m]])[0]):
                carried = run_plan(step.body, [*carried, *given[m:]])
            _write(step, arrays, run_plan(step.finish, carried))


def _types(plan: Plan) -> list[TensorType]:
    return [plan.values[v].type for v in plan.inputs]


def _piece(step: Structure, arrays: Mapping[int, Array], k: int, kind: TensorType, run: int = 0) -> Array:
    """An operand of a body, in its run."""
    if step.inputs[k] < 0:
        return np.empty(kind.shape, kind.dtype.numpy)
    memory = arrays[step.inputs[k]].reshape(-1).view(np.uint8)[step.offsets[k] + run * kind.nbytes :]
    return memory[: kind.nbytes].view(kind.dtype.numpy).reshape(kind.shape)


def _write(step: Structure, arrays: Mapping[int, Array], found: Sequence[Array], run: int = 0) -> None:
    """Put results where they belong."""
    output = arrays[step.output].reshape(-1).view(np.uint8)
    strides = step.strides if isinstance(step, Repeat) else (0,) * len(found)
    for value, place, stride in zip(found, step.places, strides, strict=True):
        if place >= 0:
            at = place + run * stride
            output[at : at + value.nbytes] = np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def _repeat(step: Repeat, arrays: Mapping[int, Array]) -> None:
    n, m, types = step.carries, step.carries + step.scanned, _types(step.body)
    given = {k: _piece(step, arrays, k, t) for k, t in enumerate(types) if not n <= k < m}
    carried = [given[k] for k in range(n)]
    for run in range(step.length - 1, -1, -1) if step.reverse else range(step.length):
        slices = [_piece(step, arrays, k, types[k], run) for k in range(n, m)]
        found = run_plan(step.body, [*carried, *slices, *(given[k] for k in range(m, len(types)))])
        carried = found[:n]
        _write(step, arrays, found, run)


def _gemm(a: Array, b: Array, out: Array, p: dict[str, Any]) -> None:
    """Matrix products whose operands are strided views of flat memory."""

    def matrix(x: Array, rows: int, columns: int, side: str) -> Array:
        step = x.itemsize
        strides = [p[f"ld{side}"] * step, step]
        if p[f"trans_{side}"]:
            strides.reverse()
        batch = tuple(s * step for s in p[f"{side}_batch"])
        flat = x.reshape(-1)[p[f"{side}_offset"] :]
        return np.lib.stride_tricks.as_strided(flat, (*p["batch"], rows, columns), (*batch, *strides), writeable=False)

    out.reshape(*p["batch"], p["m"], p["n"])[...] = matrix(a, p["m"], p["k"], "a") @ matrix(b, p["k"], p["n"], "b")


@dataclass(frozen=True, slots=True)
class _Memory:
    """A flat array; scratch has one for each iteration of the loops around it, ``depth`` axes in front."""

    array: Array
    depth: int


@dataclass(slots=True)
class _Accumulator:
    combine: str
    value: Array


class _Interpreter:
    def __init__(self, kernel: Kernel, arrays: dict[str, _Memory], size: int) -> None:
        self.kernel = kernel
        self.arrays = arrays
        self.size = size
        self.grid: list[int] = []
        self.open: list[Var] = []
        self.live: Array | None = None  # where iterations of a shared loop are left; None: everywhere
        self.values: dict[str, Array] = {}
        self.accumulators: dict[str, _Accumulator] = {}

    @property
    def depth(self) -> int:
        return len(self.grid)

    def body(self, body: Sequence[Stmt]) -> None:
        for stmt in body:
            self.statement(stmt)

    def statement(self, stmt: Stmt) -> None:
        match stmt:
            case Loop():
                self.loop(stmt)
            case Let(name, value):
                self.values[name] = self.eval(value, None)
                self.accumulators.pop(name, None)
            case Acc(name, combine, dtype):
                start = np.full(self.grid, identity(combine, dtype), dtype.numpy)
                self.accumulators[name] = _Accumulator(combine, start)
                self.values.pop(name, None)
            case Update(name, value):
                self.update(name, self.eval(value, None))
            case Scratch(name, dtype, size):
                self.arrays[name] = _Memory(np.zeros((*self.grid, size), dtype.numpy), self.depth)
            case Store():
                self.store(stmt)

    def loop(self, loop: Loop) -> None:
        extent = self.size if loop.var.extent == -1 else loop.var.extent
        if extent < 0:
            raise ArgumentError(f"kernel {self.kernel.name}: the extent of {loop.var.name} must be given")
        if loop.kind == "share":
            self.share(loop)
            return
        if loop.kind == "serial":
            for i in range(extent):
                self.values[loop.var.name] = np.full((1,) * self.depth, i, np.int64)
                self.body(loop.body)
            return
        inner = max(1, _elements(loop.body)) * max(1, int(np.prod(self.grid)))
        piece = max(1, _MOST_ELEMENTS // inner)
        for start in range(0, extent, piece):
            numbers = np.arange(start, min(start + piece, extent), dtype=np.int64)
            self.values[loop.var.name] = numbers.reshape((1,) * self.depth + (-1,))
            self.grid.append(len(numbers))
            self.open.append(loop.var)
            self.body(loop.body)
            self.open.pop()
            self.grid.pop()

    def share(self, loop: Loop) -> None:
        """Loops whose iterations are parted among those of the parallel loop around them."""
        variables, body = [loop.var], loop.body
        while len(body) == 1 and isinstance(body[0], Loop) and body[0].kind == "share":
            variables.append(body[0].var)
            body = body[0].body
        extents = tuple(v.extent for v in variables)
        whole, around = math.prod(extents), self.open[-1]
        each = -(-whole // around.extent)
        for turn in range(each):
            at = self.values[around.name] * each + turn
            self.live = at < whole
            # Others compute the last iteration once more, and store nothing.
            for v, numbers in zip(variables, np.unravel_index(np.minimum(at, whole - 1), extents), strict=True):
                self.values[v.name] = numbers
            self.body(body)
        self.live = None

    def update(self, name: str, value: Array) -> None:
        acc = self.accumulators[name]
        combine = COMBINE[acc.combine]
        outer = acc.value.ndim
        # An update happens once in every iteration, whether or not its value depends on the loop.
        value = np.broadcast_to(value, (*value.shape[:outer], *self.grid[outer:]))
        if value.ndim > outer:
            value = combine.reduce(value, axis=tuple(range(outer, value.ndim)), dtype=acc.value.dtype)
        acc.value = combine(acc.value, value)

    def store(self, stmt: Store) -> None:
        memory = self.arrays[stmt.buffer]
        index = self.eval(stmt.index, None)
        self.check(stmt.buffer, index, None)
        value = convert(self.eval(stmt.value, None), memory.array.dtype)
        # Every iteration adds, whether or not index and value depend on its loops.
        every = stmt.add or self.live is not None
        shape = tuple(self.grid) if every else np.broadcast_shapes(value.shape, index.shape)
        place, value = self.place(memory, np.broadcast_to(index, shape)), np.broadcast_to(value, shape)
        if self.live is not None:
            live = np.broadcast_to(self.deepen(self.live), shape)
            place, value = tuple(np.broadcast_to(p, shape)[live] for p in place), value[live]
        if stmt.add:
            np.add.at(memory.array, place, value)
        else:
            memory.array[place] = value

    def place(self, memory: _Memory, index: Array) -> Any:
        """What to subscribe the array with; an open loop around the array's declaration is an axis of it."""
        axes = [
            np.arange(n).reshape((1,) * a + (-1,) + (1,) * (self.depth - a - 1))
            for a, n in enumerate(memory.array.shape[: memory.depth])
        ]
        return (*axes, index)

    def check(self, buffer: str, index: Array, guard: Array | None) -> None:
        """Raise for an index outside of the buffer, where the guard (None: everywhere) holds."""
        size = self.arrays[buffer].array.shape[-1]
        outside = (index < 0) | (index >= size)
        if guard is not None:
            outside = outside & guard
        if outside.any():
            wrong = int(np.broadcast_to(index, outside.shape)[outside][0])
            raise IndexError(
                f"kernel {self.kernel.name}: index {wrong} is outside of {buffer}, which has {size} elements"
            )

    def eval(self, expr: Expr, guard: Array | None) -> Array:
        """The expression's value in every iteration of the open loops; where the guard does not hold, anything."""
        match expr:
            case Const(value, dtype):
                return np.full((1,) * self.depth, value, dtype.numpy)
            case Var(name, _):
                return self.deepen(self.values[name])
            case Ref(name, _):
                acc = self.accumulators.get(name)
                return self.deepen(acc.value if acc else self.values[name])
            case Linear(terms, offset):
                total = np.full((1,) * self.depth, offset, np.int64)
                for term, coefficient in terms:
                    total = total + coefficient * self.eval(term, guard).astype(np.int64)
                return total
            case Div(value, by):
                return self.eval(value, guard).astype(np.int64) // by
            case Mod(value, by):
                return self.eval(value, guard).astype(np.int64) % by
            case Load(buffer, index, _):
                return self.load(buffer, self.eval(index, guard), guard)
            case Call("select", (condition, then, other), _):
                return self.select(condition, then, other, guard)
            case Call(op, args, dtype):
                return compute(op, [self.eval(a, guard) for a in args], dtype.numpy)

    def load(self, buffer: str, index: Array, guard: Array | None) -> Array:
        memory = self.arrays[buffer]
        self.check(buffer, index, guard)
        if guard is not None:
            size = memory.array.shape[-1]
            if size == 0:
                return np.zeros(index.shape, memory.array.dtype)
            index = np.clip(index, 0, size - 1)
        result: Array = memory.array[self.place(memory, index)]
        return result

    def select(self, condition: Expr, then: Expr, other: Expr, guard: Array | None) -> Array:
        chosen = self.eval(condition, guard)
        yes, no = (chosen, ~chosen) if guard is None else (guard & chosen, guard & ~chosen)
        return np.where(chosen, self.eval(then, yes), self.eval(other, no))

    def deepen(self, value: Array) -> Array:
        """A value of outer loops as one of the loops open now."""
        return value.reshape(value.shape + (1,) * (self.depth - value.ndim))


def _elements(body: Sequence[Stmt]) -> int:
    """How many iterations the loops in a body run at once, in the deepest nest."""
    most = 1
    for stmt in body:
        if isinstance(stmt, Loop):
            here = 1 if stmt.kind in ("serial", "share") else max(stmt.var.extent, 1)
            most = max(most, here * _elements(stmt.body))
    return most
