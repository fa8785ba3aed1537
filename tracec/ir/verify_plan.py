"""Checks of the invariants of plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from tracec.errors import VerifyError
from tracec.ir.plan import Branch, Launch, LibraryCall, Plan, Repeat, Step, Structure, Value, While, bodies_of
from tracec.ir.verify_kernel import verify_kernel


def verify_plan(plan: Plan) -> None:
    """Check a plan: reads follow writes, and values that share memory are never alive together.

    Raises:
        VerifyError: names the step or the values, and the rule.
    """
    for kernel in plan.kernels:
        verify_kernel(kernel)
    _verify_indices(plan)
    for number, step in enumerate(plan.steps):
        if isinstance(step, (Repeat, Branch, While)):
            _verify_structure(plan, number, step)
    _verify_order(plan)
    _verify_arena(plan)


def accesses(plan: Plan, step: Step) -> Iterator[tuple[int, str]]:
    """Each value that a step touches, by index, and how: ``in``, ``out`` or ``inout``."""
    if isinstance(step, LibraryCall):
        yield from ((i, "in") for i in step.inputs)
        yield step.output, "out"
        return
    if isinstance(step, (Repeat, Branch, While)):
        yield from ((i, "in") for i in step.reads)
        yield step.output, "out"
        yield step.scratch, "out"
        return
    for run in step.args:
        yield from ((i, b.role) for b, i in zip(plan.kernels[step.kernel].buffers, run, strict=True))


def _verify_indices(plan: Plan) -> None:
    for number, step in enumerate(plan.steps):
        if isinstance(step, Launch):
            _verify_launch(plan, number, step)
        for i, _ in accesses(plan, step):
            if not 0 <= i < len(plan.values):
                _fail(f"step {number} names value {i}, there are {len(plan.values)}")
    for v in plan.values:
        if v.place == "part" and v.offset + v.type.nbytes > plan.values[v.index].type.nbytes:
            _fail(f"{v.name} lies at {v.offset} of {plan.values[v.index].name}, outside of it")
    for what, ids in (("input", plan.inputs), ("output", plan.outputs)):
        for i in ids:
            if not 0 <= i < len(plan.values):
                _fail(f"{what} names value {i}, there are {len(plan.values)}")


def _verify_structure(plan: Plan, number: int, step: Structure) -> None:
    """What runs read and write lies in the values that it is said to lie in."""
    for body in bodies_of(step):
        verify_plan(body)
    _verify_operands(plan, number, step)
    ends = [body.memory.peak_bytes for body in bodies_of(step)]
    match step:
        case Repeat():
            body, strides, size = step.body, step.strides, step.length - 1
        case Branch():
            body, strides, size = step.bodies[0], (0,) * len(step.places), 0
        case While():
            body, strides, size = step.finish, (0,) * len(step.places), 0
            ends.append(step.flag + 1)
    if len(body.outputs) != len(step.places):
        _fail(f"step {number} has {len(step.places)} places for {len(body.outputs)} results")
    for each in bodies_of(step):
        for v in each.outputs:
            if each.values[v].place != "output":
                _fail(f"step {number} has a body that gives {each.values[v].name}, which has no memory of its own")
    for v, place, stride in zip(body.outputs, step.places, strides, strict=True):
        end = place + body.values[v].type.nbytes + stride * size
        if place >= 0 and end > plan.values[step.output].type.nbytes:
            _fail(f"step {number} writes {plan.values[step.output].name} up to byte {end}")
    if not isinstance(step, Branch):
        for v, pair in zip(step.body.inputs, step.buffers, strict=False):
            ends += [at + step.body.values[v].type.nbytes for at in pair]
    if max(ends) > plan.values[step.scratch].type.nbytes:
        _fail(f"step {number} uses {max(ends)} bytes of {plan.values[step.scratch].name}")


def _verify_operands(plan: Plan, number: int, step: Structure) -> None:
    """Each operand of a body lies in its value."""
    match step:
        case Repeat():
            taken = [step.body.values[v].type.nbytes for v in step.body.inputs]
            last = step.carries + step.scanned
            taken = [n * step.length if step.carries <= k < last else n for k, n in enumerate(taken)]
        case Branch():
            taken = [1, *(step.bodies[0].values[v].type.nbytes for v in step.bodies[0].inputs)]
        case While():
            test, body = ([p.values[v].type.nbytes for v in p.inputs] for p in (step.condition, step.body))
            taken = [*test, *body[step.carries :]]
    if len(step.inputs) != len(taken):
        _fail(f"step {number} gives {len(step.inputs)} values to a body that takes {len(taken)}")
    for v, offset, size in zip(step.inputs, step.offsets, taken, strict=True):
        if v >= 0 and offset + size > plan.values[v].type.nbytes:
            _fail(f"step {number} reads {size} bytes at {offset} of {plan.values[v].name}: {plan.values[v].type}")


def _verify_launch(plan: Plan, number: int, step: Launch) -> None:
    if not 0 <= step.kernel < len(plan.kernels):
        _fail(f"step {number} names kernel {step.kernel}, there are {len(plan.kernels)}")
    kernel = plan.kernels[step.kernel]
    if step.sizes and len(step.sizes) != len(step.args):
        _fail(f"step {number} has {len(step.args)} runs and {len(step.sizes)} sizes")
    for run in step.args:
        if len(run) != len(kernel.buffers):
            _fail(f"step {number} gives {len(run)} values to {kernel.name}, which takes {len(kernel.buffers)}")
        for buffer, i in zip(kernel.buffers, run, strict=True):
            value = plan.values[i] if 0 <= i < len(plan.values) else None
            fits = value is None or -1 in buffer.shape or value.type.size == buffer.size
            if value is not None and not (fits and value.type.dtype is buffer.dtype):
                _fail(
                    f"step {number} gives {value.name}: {value.type} to buffer {buffer.name} of {kernel.name}, "
                    f"which is {buffer.dtype.short}{list(buffer.shape)}"
                )


def _verify_order(plan: Plan) -> None:
    """Every read is after a write, and lifetimes cover every access."""
    written = {i for i, v in enumerate(plan.values) if v.place == "input" or v.type.size == 0}
    for number, step in enumerate(plan.steps):
        touched = list(accesses(plan, step))
        for i, role in touched:
            value, i = plan.values[i], plan.whole(i)
            if role != "out" and i not in written:
                _fail(f"step {number} reads {value.name}, which no step before it writes")
            value = plan.values[i]
            if value.place == "arena" and not value.first <= number <= value.last:
                _fail(f"step {number} touches {value.name}, which is alive in steps {value.first} to {value.last}")
        written.update(plan.whole(i) for i, role in touched if role != "in")
    for i in plan.outputs:
        if i not in written:
            _fail(f"output {plan.values[i].name} is never written")


def _verify_arena(plan: Plan) -> None:
    """Values alive at the same time do not share bytes of the arena."""
    placed = sorted((v for v in plan.values if v.place == "arena" and v.type.nbytes), key=lambda v: (v.first, v.offset))
    alive: list[Value] = []
    for value in placed:
        if value.offset < 0 or value.offset + value.type.nbytes > plan.memory.peak_bytes:
            _fail(f"{value.name} lies at {value.offset}, outside of the arena of {plan.memory.peak_bytes} bytes")
        alive = [v for v in alive if v.last >= value.first]
        for other in alive:
            apart = value.offset >= _end(other) or other.offset >= _end(value)
            if not apart and not _in_place(plan, other, value):
                _fail(
                    f"{other.name} (steps {other.first} to {other.last}) and {value.name} "
                    f"(steps {value.first} to {value.last}) share bytes of the arena"
                )
        alive.append(value)


def _end(value: Value) -> int:
    return value.offset + value.type.nbytes


def _in_place(plan: Plan, dying: Value, born: Value) -> bool:
    """Whether one value takes over the other's bytes in the step that reads the one and writes the other.

    A kernel that does so reads each element before it writes it; `tracec.plan` sees to that.
    """
    same = dying.offset == born.offset and dying.type.nbytes == born.type.nbytes
    return same and dying.last == born.first and isinstance(plan.steps[born.first], Launch)


def _fail(rule: str) -> NoReturn:
    raise VerifyError(f"plan: {rule}")
