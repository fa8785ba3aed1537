"""Recordings and plans over symbolic sizes, evaluated for the sizes of one call."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np

from tracec.build import Built
from tracec.codegen import cuda
from tracec.ir.body import Body
from tracec.ir.expression import at_sizes
from tracec.ir.extent import Condition, Extent, Ratio, Values, at, is_varying, noting, plain
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, is_constant
from tracec.ir.passes import PipelineResult
from tracec.ir.plan import Launch, Plan, Step, Value
from tracec.ir.resize import Plain, Resized, settled
from tracec.record.call import Call
from tracec.record.check import Requirement
from tracec.record.late import Late
from tracec.record.opaque import unwrapped
from tracec.record.recording import Check, Result
from tracec.record.structure import children, is_data, made_again
from tracec.specialisations.program import Program
from tracec.specialisations.recorded import Recorded

NOTHING: Mapping[Node, Any] = {}


class Resizing(Resized):
    """Recordings and plans for some sizes."""

    def value(self, value: Value) -> Value:
        """A piece of memory for these sizes."""
        return replace(value, type=self.type(value.type), offset=self.number(value.offset))

    def step(self, step: Step) -> Step:
        """A step of a plan for these sizes."""
        if isinstance(step, Launch):
            return replace(step, sizes=self.number(step.sizes))
        return replace(step, **{f.name: self._part(getattr(step, f.name)) for f in fields(step)})

    def _part(self, x: Any) -> Any:
        """What a step holds: numbers, parameters or plans, or tuples of these."""
        if isinstance(x, Plan):
            return self.plan(x)
        return tuple(map(self._part, x)) if type(x) is tuple else self.number(x)

    def plan(self, plan: Plan) -> Plan:
        """A plan for these sizes: the same kernels over memory of other sizes."""
        memory = plan.memory
        if memory.layout is not None and memory.layout.total not in self.values:
            self.values = memory.layout.values(self.values)
            self._numbers.clear()
        figures = replace(memory, **{f.name: self.number(getattr(memory, f.name)) for f in fields(memory)})
        values = tuple(map(self.value, plan.values))
        return replace(plan, values=values, steps=tuple(map(self.step, plan.steps)), memory=figures)

    def call(self, call: Call) -> Call:
        """A view step for these sizes."""
        if not is_varying([v for _, v in call.params]) and not is_varying([t.shape for t in (*call.types, call.type)]):
            return call
        made = Call(call.op, self.number(call.params), tuple(map(self.type, call.types)), self.type(call.type))
        made.keywords = {k: settled(v) for k, v in made.params}
        return made

    def result(self, result: Result) -> Result:
        """A result for these sizes."""
        layout = settled(self.number(result.layout))
        return replace(result, steps=tuple(map(self.call, result.steps)), layout=layout)

    def requirement(self, requires: Requirement) -> Requirement:
        """What values have to be, for these sizes."""
        return requires._replace(refuse=self._refuse(requires.refuse), bounds=self.number(requires.bounds))

    def _refuse(self, refuse: Callable[..., Any]) -> Any:
        """What raises an error, which closes over sizes; they keep their formulas, as there may be other sizes yet."""
        if isinstance(refuse, functools.partial):
            keywords = {k: self.number(v) for k, v in refuse.keywords.items()}
            return functools.partial(self._refuse(refuse.func), *self.number(refuse.args), **keywords)
        if not isinstance(refuse, types.FunctionType) or not refuse.__closure__:
            return refuse
        cells = tuple(types.CellType(self.number(c.cell_contents)) for c in refuse.__closure__)
        made = types.FunctionType(refuse.__code__, refuse.__globals__, refuse.__name__, refuse.__defaults__, cells)
        made.__kwdefaults__ = refuse.__kwdefaults__
        return made


class Plainly(Plain, Resizing):
    """Plans for some sizes, without formulas."""


def fixed_sizes(recorded: Recorded, values: Values | None = None) -> Recorded:
    """What was recorded, for some sizes alone: its own, where none are given.

    Numbers with formulas may be those of other recordings, which share symbols and expressions: they are computed.
    """
    if values is None:
        counts = {d.size: int(d.value) for d in recorded.recording.decisions if d.size is not None}
        values = {**recorded.own, **counts}
    fixed = _resized(recorded, Plainly(values))
    decisions = [d._replace(size=None) for d in fixed.recording.decisions]
    return replace(fixed, recording=replace(fixed.recording, decisions=decisions))


def resized(recorded: Recorded, values: Values) -> Recorded:
    """What was recorded, for other sizes."""
    return _resized(recorded, Resizing(values))


def fitted(recorded: Recorded, values: Values) -> Recorded:
    """What was recorded, with all that surrounds its program for other sizes, and its graph as it was.

    Where the program is there already, nothing is asked of the graph but its outline.
    """
    return replace(_resized(recorded, Resizing(values), whole=False), like=recorded)


def _resized(recorded: Recorded, new: Resizing, whole: bool = True) -> Recorded:
    recording = recorded.recording
    graph = new.graph(recording.graph) if whole else recording.graph
    for node in recording.graph.inputs:
        new.node(node)
    for c in recording.checks:
        for node in topological((c.node,)):
            new.node(node)
    checks = tuple(Check(new.nodes[c.node], new.requirement(c.requires)) for c in recording.checks)
    inputs = tuple(replace(v, node=new.nodes[v.node]) for v in recording.inputs)
    results = tuple(map(new.result, recording.results))
    grads = tuple((x, output, settled(new.number(layout))) for x, output, layout in recording.grads)
    decisions = []
    for d in recording.decisions:
        for node in topological((d.node, *d.nodes)):
            new.node(node)
        expression = None if d.expression is None else at_sizes(d.expression, new.values)
        value = d.value if d.size is None else np.array(new.values.get(d.size, d.value), d.value.dtype)
        decisions.append(d.over(new.nodes.__getitem__)._replace(expression=expression, value=value))
    out = plain_value(recorded.out, new.values)
    for n in recording.late:
        new.node(n)
    late = {new.nodes[n]: (at_sizes(e, new.values), new.type(t)) for n, (e, t) in recording.late.items()}
    shown = tuple(at_sizes(e, new.values) for e in recording.numbers)
    recording = replace(
        recording, graph=graph, checks=checks, inputs=inputs, results=results, grads=grads, out=out, late=late,
        decisions=decisions, numbers=shown,
    )  # fmt: skip
    numbers = None if recorded.numbers is None else recorded.numbers.at_sizes(new.values)
    return replace(recorded, recording=recording, out=out, numbers=numbers)


def plain_value(value: Any, values: Values) -> Any:
    """A result of a function with numbers in it as they are for these sizes, and plain."""
    value = unwrapped(value)
    if isinstance(value, (Extent, Ratio)):
        return plain(at(value, values))
    cls: Any = type(value)
    if isinstance(value, tuple):
        parts = [plain_value(v, values) for v in value]
        if all(a is b for a, b in zip(parts, value, strict=True)):
            return value
        return cls(*parts) if hasattr(cls, "_fields") else tuple.__new__(cls, parts)
    if is_data(value):
        before = children(value)
        parts = [plain_value(v, values) for v in before]
        if any(a is not b for a, b in zip(parts, before, strict=True)):
            return made_again(value, iter(parts))
    return value


def built_at(built: Built, values: Values) -> Built:
    """What was built, for other sizes: the same code with other numbers."""
    new = Plainly(values)
    plan = new.plan(built.plan)

    @functools.cache
    def optimised() -> PipelineResult:
        return PipelineResult(Plainly(values).graph(built.graph), ())  # which is what runs where there is no compiler

    if built.target == "cpu":
        parts = tuple(p if isinstance(p, str) else new.step(p) for p in built.program.parts)
        sizes, reals = new.number(built.program.sizes), new.number(built.program.reals)
        program = replace(built.program, parts=parts, sizes=sizes, reals=reals)
        written = None
    else:
        written = functools.partial(cuda.at_sizes, built.program, plan, new)
        program = written({})
    return replace(built, optimised=optimised, plan=plan, program=program, written=written)


def program_at(program: Program, recorded: Recorded, values: Values) -> Program:
    """What was built of a recording, for the sizes that ``recorded`` is resized to."""
    backward = tuple((d, built_at(b, values), later) for d, b, later in program.backward)
    late, *of_gradients = (_late_at(conditions, values) for conditions in (program.late, *program.of_gradients))
    forward = built_at(program.forward, values)
    return replace(
        program, recorded=recorded, forward=forward, backward=backward, late=late, of_gradients=tuple(of_gradients)
    )


def _late_at(conditions: Sequence[Late], values: Values) -> tuple[Late, ...]:
    """Conditions for other sizes."""
    new = Resizing(values)
    return tuple(c._replace(requires=new.requirement(c.requires)) for c in conditions)


def agreement(graph: Graph) -> tuple[Condition, ...] | None:
    """The conditions on sizes under which every operator gives what the graph says; None where it does for none."""
    noted: dict[Condition, None] = {}
    with noting(lambda c: noted.setdefault(c), named=True):
        agree = consistent(graph)
    return tuple(noted) if agree else None


def difference(
    one: Graph, other: Graph, first: Mapping[Node, Any] = NOTHING, second: Mapping[Node, Any] = NOTHING
) -> str | None:
    """The first place at which two graphs differ, source lines left aside; None where there is none.

    Args:
        one: A graph.
        other: Another.
        first: Inputs of the one that are numbers made while it was recorded, and these.
        second: Those of the other.
    """
    pairs: dict[Node, Node] = {}
    # Whether one constant is read twice, or two that are equal, is of no account.
    left, right = ([n for n in topological(g.outputs) if not is_constant(n)] for g in (one, other))
    for a, b in zip(left, right, strict=False):
        pairs[a] = b
        if a.op.name != b.op.name or a.type != b.type or len(a.inputs) != len(b.inputs):
            return f"{a.op.name} {a.type} or {b.op.name} {b.type}, at {b.source}"
        if repr(a.params) != repr(b.params):
            return f"{a.op.name} {a.params} or {b.params}, at {b.source}"
        if not all(_is_paired(i, j, pairs) for i, j in zip(a.inputs, b.inputs, strict=True)):
            return f"operands of {a.op.name}, at {b.source}"
        if a in first and b in second and first[a].tobytes() != second[b].tobytes():
            return f"numbers made at {b.source}"
    same = len(left) == len(right) and len(one.outputs) == len(other.outputs)
    if not same or not all(_is_paired(a, b, pairs) for a, b in zip(one.outputs, other.outputs, strict=True)):
        return "what is computed"
    return None


def _is_paired(a: Node, b: Node, pairs: Mapping[Node, Node]) -> bool:
    """Whether a node of one graph is what another one is in another."""
    if is_constant(a) or is_constant(b):
        return is_constant(a) and is_constant(b) and a.type == b.type and repr(a.params) == repr(b.params)
    return pairs[a] is b


def _varies(node: Node) -> bool:
    return is_varying(node.type.shape) or any(is_varying(v) for _, v in node.params)


def consistent(graph: Graph) -> bool:
    """Whether every operator whose sizes vary gives what the graph says, by its own rule, and so in bodies."""
    bodies = {id(v): v.graph for n in graph.nodes for _, v in n.params if isinstance(v, Body)}
    varying = [n for n in graph.nodes if _varies(n) or any(map(is_varying, (i.type.shape for i in n.inputs)))]
    return all(n.op.infer(tuple(i.type for i in n.inputs), n.params) == n.type for n in varying) and all(
        map(consistent, bodies.values())
    )
