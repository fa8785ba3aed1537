"""Operators that run bodies: each body is a plan of its own, which reads and writes where values already lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from tracec.ir import dtype as dt
from tracec.ir.body import Body
from tracec.ir.extent import chosen
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.plan import Branch, LibraryCall, Plan, Repeat, Step, Structure, While, bodies_of
from tracec.ir.types import TensorType
from tracec.ops.branches import WhileParams
from tracec.ops.loops import ScanParams
from tracec.ops.packing import Layout, encoded, layout
from tracec.plan.memory import aligned
from tracec.plan.routines import Routine, Within, lies_in
from tracec.plan.target import Target

#: Launches of all runs of a loop on a GPU; a longer one is queued operator by operator.
MOST_LAUNCHES = 50_000
#: What addresses of memory that kernels on a GPU read in packs are multiples of.
PACK_BYTES = 16

PlanBody = Callable[[Graph], Plan]


class Bodies:
    """Steps for operators that run bodies; each body is planned once.

    Args:
        plan: Plans a graph.
        target: What they run on.
    """

    def __init__(self, plan: PlanBody, target: Target) -> None:
        self._plan, self._target = plan, target
        self._known: dict[str, Plan] = {}

    def __call__(self, node: Node, inlined: dict[Node, int]) -> Routine | None:
        """The routine for a node that runs bodies; None where only Python can run them."""
        for x in node.inputs:  # before any is looked for: one may be a view of another
            if x.type.size and lies_in(x, inlined) is None:
                inlined.pop(x, None)
        made = {"scan": self._repeat, "cond": self._branch, "while_loop": self._while}[node.op.name](node, inlined)
        if made is None:
            return None
        operands, step, scratch = made
        memory = input_node(TensorType(dt.uint8, (chosen("bytes", max, scratch, 1),), node.device))
        return Routine(node.op.name, operands, node.params, (), Within(step, memory))

    def _planned(self, graph: Graph) -> Plan | None:
        """The plan of a body; None where it calls Python."""
        key = Body(graph).structure
        if key not in self._known:
            self._known[key] = _named(self._plan(graph), f"body{len(self._known)}_")
        return None if _calls_python(self._known[key]) else self._known[key]

    def _repeat(self, node: Node, inlined: dict[Node, int]) -> tuple[tuple[Node, ...], Structure, int] | None:
        loop = ScanParams(**dict(node.params))
        graph, places, strides = _conformed(loop, node)
        plan = self._planned(graph)
        operands, feeds, offsets = _operands(node.inputs, inlined)
        if plan is None or (self._target.is_gpu and not _is_launched(loop, node, plan, (*places, *strides, *offsets))):
            return None
        end, buffers = _buffers(aligned(plan.memory.peak_bytes), node.inputs[: loop.carries])
        step = Repeat(
            plan, loop.carries, loop.scanned, loop.length, loop.reverse, feeds, offsets, -1, places, strides, -1,
            buffers, node.op.name, node.source,
        )  # fmt: skip
        return operands, step, end

    def _branch(self, node: Node, inlined: dict[Node, int]) -> tuple[tuple[Node, ...], Structure, int] | None:
        results = layout(node.param("then").outputs)
        found = []
        for name in ("then", "other"):
            graph = node.param(name).graph
            with made_from(node.source, "cond of bodies"):
                outputs = _apart(encoded(o, p) for o, p in zip(graph.outputs, results.parts, strict=True))
            found.append(self._planned(graph.with_outputs(outputs)))
        if found[0] is None or found[1] is None or self._target.is_gpu:
            return None
        operands, feeds, offsets = _operands(node.inputs, inlined)
        step = Branch(
            (found[0], found[1]), feeds, offsets, -1, _places(results), -1, node.op.name, node.source
        )  # fmt: skip
        return operands, step, _largest(step.bodies)

    def _while(self, node: Node, inlined: dict[Node, int]) -> tuple[tuple[Node, ...], Structure, int] | None:
        loop = WhileParams(**dict(node.params))
        carried = tuple(input_node(x.type) for x in node.inputs[: loop.carries])
        with made_from(node.source, "while_loop of bodies"):
            results = _apart(encoded(x, p) for x, p in zip(carried, loop.results.parts, strict=True))
            test, step = loop.condition.graph, loop.body.graph
            graphs = test.with_outputs(_apart(test.outputs)), step.with_outputs(_apart(step.outputs))
        condition, body, finish = map(self._planned, (*graphs, Graph(carried, tuple(results))))
        if condition is None or body is None or finish is None or self._target.is_gpu:
            return None
        operands, feeds, offsets = _operands(node.inputs, inlined)
        end, buffers = _buffers(aligned(_largest((condition, body, finish))), carried)
        made = While(
            condition, body, finish, loop.carries, loop.read, feeds, offsets, -1, _places(loop.results), -1, buffers,
            end, node.op.name, node.source,
        )  # fmt: skip
        return operands, made, end + 1


def _named(plan: Plan, prefix: str, made: dict[int, Plan] | None = None) -> Plan:
    """The plan with a prefix to the names of kernels, so that those of several plans differ; a plan in it stays one."""
    made = {} if made is None else made
    if id(plan) not in made:
        kernels = tuple(replace(k, name=prefix + k.name) for k in plan.kernels)
        steps = tuple(_named_within(step, lambda body: _named(body, prefix, made)) for step in plan.steps)
        made[id(plan)] = replace(plan, kernels=kernels, steps=steps)
    return made[id(plan)]


def _named_within(step: Step, named: Callable[[Plan], Plan]) -> Step:
    match step:
        case Repeat():
            return replace(step, body=named(step.body))
        case Branch():
            then, other = map(named, step.bodies)
            return replace(step, bodies=(then, other))
        case While():
            test, body, last = map(named, bodies_of(step))
            return replace(step, condition=test, body=body, finish=last)
    return step


def _calls_python(plan: Plan) -> bool:
    return any(
        step.routine == "eager"
        if isinstance(step, LibraryCall)
        else isinstance(step, (Repeat, Branch, While)) and any(map(_calls_python, bodies_of(step)))
        for step in plan.steps
    )


def _is_launched(loop: ScanParams, node: Node, plan: Plan, apart: Iterable[int]) -> bool:
    """Whether the launches of all runs can be listed: there are not too many, and all memory is aligned for packs."""
    slices = (x.type.nbytes // loop.length for x in node.inputs[loop.carries : loop.carries + loop.scanned])
    fits = all(n % PACK_BYTES == 0 for n in (*apart, *slices) if n > 0)
    return fits and loop.length * len(plan.steps) <= MOST_LAUNCHES


def _largest(plans: Sequence[Plan]) -> int:
    """Bytes that each of some plans can have its intermediate values in."""
    return chosen("bytes", max, *(p.memory.peak_bytes for p in plans))


def _places(results: Layout) -> tuple[int, ...]:
    return tuple(p.start * p.dtype.itemsize for p in results.parts)


def _operands(
    inputs: Sequence[Node], inlined: dict[Node, int]
) -> tuple[tuple[Node, ...], tuple[int, ...], tuple[int, ...]]:
    """The values that operands lie in, and for each operand which of them, -1 for none, and the bytes in front."""
    operands: dict[Node, int] = {}
    feeds, offsets = [], []
    for x in inputs:
        source, offset = lies_in(x, inlined) or (x, 0)
        feeds.append(operands.setdefault(source, len(operands)) if x.type.size else -1)
        offsets.append(offset * x.dtype.itemsize if x.type.size else 0)
    return tuple(operands), tuple(feeds), tuple(offsets)


def _buffers(end: int, carried: Iterable[Node]) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Two buffers for each value behind some bytes, and where they end."""
    buffers = []
    for x in carried:
        size = aligned(x.type.nbytes)
        buffers.append((end, end + size))
        end += 2 * size
    return end, tuple(buffers)


def _conformed(loop: ScanParams, node: Node) -> tuple[Graph, tuple[int, ...], tuple[int, ...]]:
    """The body with results in the type that they have in the packed array, each with memory of its own.

    A carried value of another type is written there by every run, each time over what the one before it wrote.

    Returns:
        The graph, and for each of its outputs the bytes in front of it and from run to run.
    """
    graph, parts, n = loop.body.graph, loop.results.parts, loop.carries
    outputs, places, strides = list(graph.outputs[:n]), [], []
    with made_from(node.source, "scan of a body"):
        for k, (value, part) in enumerate(zip(graph.outputs, parts, strict=True)):
            size = part.dtype.itemsize
            if k >= n:
                outputs.append(encoded(value, part))
            places.append(part.start * size if k >= n or part.type.dtype is part.dtype else -1)
            strides.append(part.size // loop.length * size if k >= n else 0)
        for value, part in zip(graph.outputs[:n], parts, strict=False):
            if part.type.dtype is not part.dtype:
                outputs.append(encoded(value, part))
                places.append(part.start * part.dtype.itemsize)
                strides.append(0)
        return Graph(graph.inputs, tuple(_apart(outputs)), "body"), tuple(places), tuple(strides)


def _apart(outputs: Iterable[Node]) -> list[Node]:
    """Outputs each of which gets memory of its own; what is an operand, or there twice, is copied."""
    taken: set[Node] = set()
    found = []
    for node in outputs:
        base = node
        while base.op.name == "reshape":
            base = base.inputs[0]
        if is_input(base) or is_constant(base) or base in taken:
            node = base = OPERATORS["expand"](node, shape=node.shape)
        taken.add(base)
        found.append(node)
    return found
