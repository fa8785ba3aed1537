"""Recordings as paths of a tree: what two of them share, what is asked for on the way, and what is needed later.

Nodes of recordings that begin alike are hash-consed (`Interner`), so that a common prefix is a common set of nodes. A
recording is cut where it asks for a value, into segments; what a later segment needs is saved, by liveness.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tracec.errors import RecordError
from tracec.ir.conditions import noting
from tracec.ir.expression import Expression
from tracec.ir.extent import Values, formula_key
from tracec.ir.graph import Graph, substitute, topological, topological_until
from tracec.ir.node import Node, constant, input_node, is_input
from tracec.ir.types import TensorType
from tracec.record.backend import module, on
from tracec.record.cell import Constant, new_tensor
from tracec.record.numbers import array_of
from tracec.record.recording import Decision, Lifted, Recording
from tracec.record.tensor import Tensor
from tracec.specialisations.counted import evaluator
from tracec.specialisations.recorded import Recorded, asks

_VIEWS = frozenset({"reshape", "transpose", "expand", "slice", "flip"})


class Interner:
    """Gives equal nodes of several recordings of one function as one node."""

    def __init__(self) -> None:
        self._inputs: dict[Any, Node] = {}
        self._nodes: dict[Any, Node] = {}
        #: Inputs are known by the memory that they are: it must not be given to others.
        self._alive: list[Any] = []

    def __call__(self, recorded: Recorded) -> Recorded:
        """The recording with nodes that recordings of other paths have as well in place of its own."""
        recording = recorded.recording
        here = positions(recorded.arguments)
        new: dict[Node, Node] = {}
        inputs = []
        for v in recording.inputs:
            late = recording.late.get(v.node)
            node = self._inputs.setdefault(late or self._source(v, here), v.node)
            new[v.node] = node
            inputs.append(replace(v, node=node))
        asked = [n for d in recording.decisions for n in (d.node, *d.nodes)]
        checked = [c.node for c in recording.checks]
        for node in topological((*recording.graph.outputs, *asked, *checked)):
            if node not in new:
                operands = tuple(new[i] for i in node.inputs)
                key = (node.op.name, tuple(map(id, operands)), _named(node.params), formula_key(node.type))
                new[node] = self._nodes.setdefault(key, node.with_inputs(operands))
        graph = Graph(
            tuple(v.node for v in inputs), tuple(new[o] for o in recording.graph.outputs), recording.graph.name
        )
        decisions = [d.over(new.__getitem__) for d in recording.decisions]
        checks = tuple(c._replace(node=new[c.node]) for c in recording.checks)
        return replace(
            recorded,
            recording=replace(
                recording,
                graph=graph,
                inputs=tuple(inputs),
                decisions=decisions,
                checks=checks,
                late={new[n]: scalar for n, scalar in recording.late.items()},
            ),
        )

    def _source(self, v: Lifted, here: Mapping[int, int]) -> Any:
        """Where an input comes from, by which it is known in other recordings."""
        kind = v.whole, formula_key(v.node.type)
        if v.argument is not None:
            # Behind the arguments are gradients given to the results of this one recording.
            return ("argument", v.argument, *kind) if v.argument < len(here) else id(v.node)
        if isinstance(v.storage, Constant):
            return ("constant", v.storage.array.tobytes(), *kind)
        self._alive.append((v.storage, v.grad_of))
        if v.grad_of is not None:
            owner = here.get(id(v.grad_of))
            return ("gradient", id(v.grad_of) if owner is None else owner, owner is None, *kind)
        look = None
        if not v.whole:
            data = v.array.__array_interface__ if isinstance(v.array, np.ndarray) else v.array.__cuda_array_interface__
            look = data["data"][0], v.array.strides
        return ("memory", id(v.storage), look, *kind)


def _named(params: Any) -> str:
    """The text of parameters, with formulas in place of sizes that vary."""
    with noting(None, named=True):
        return repr(params)


def without_known(recording: Recording, decisions: Sequence[Decision]) -> Recording:
    """A recording whose end does not compute again what was asked for on the way."""
    known = {k for d in decisions for k, _ in d.symbols}
    outputs = list(recording.graph.outputs)
    for k, at in recording.asked:
        if k in known:
            outputs[at] = constant(0, outputs[at].type)
    asked = tuple((k, at) for k, at in recording.asked if k not in known)
    return replace(recording, graph=recording.graph.with_outputs(outputs), asked=asked)


def open_decisions(decisions: Sequence[Decision]) -> list[Decision]:
    """The decisions that other calls may take otherwise."""
    found: list[Decision] = []
    settled: set[Any] = set()
    for d in decisions:
        same = d.node, d.how, d.expression, d.size
        if same not in settled and any(map(is_input, topological(d.nodes))):
            settled.add(same)
            found.append(d)
    return found


def check_whole(recorded: Recorded) -> None:
    """Refuse a function that asks for values where it has to be one graph.

    Raises:
        RecordError: it does.
    """
    decisions = recorded.recording.decisions
    if recorded.eager is None and open_decisions(decisions):
        raise RecordError(
            f"compile: {recorded.recording.graph.name}: {asks(decisions[0])}, which makes it several graphs",
            hint="leave fullgraph=True away: each part is compiled, and the values choose among them",
        )


def what_is_asked(decisions: Sequence[Decision]) -> list[list[Node]]:
    """For each decision the nodes whose values have to be fetched: symbols are known from then on."""
    known: set[int] = set()
    found: list[list[Node]] = []
    for d in decisions:
        found.append([n for k, n in d.symbols if k not in known] if d.symbols else [d.node])
        known |= {k for k, _ in d.symbols}
    return found


def last_uses(asks: Sequence[Sequence[Node]], ends: Sequence[Node]) -> dict[Node, int]:
    """For each value the last of the decisions that it is used for; their number where it is used in the end."""
    level: dict[Node, int] = {}
    for i, nodes in enumerate(asks):
        level |= dict.fromkeys(topological_until(nodes, level), i)
    level |= dict.fromkeys(topological_until(ends, level), len(asks))
    last = dict(level) | dict.fromkeys(ends, len(asks))
    for i, nodes in enumerate(asks):
        for node in nodes:
            last[node] = max(last[node], i)
    for node in reversed(level):
        use = last[node] if node.op.name in _VIEWS else level[node]  # a view is made again from what it looks at
        for operand in node.inputs:
            last[operand] = max(last[operand], use)
    return last


def used_after(last: Mapping[Node, int], i: int) -> Callable[[Node], bool]:
    return lambda node: last.get(node, -1) > i


def worth_saving(inside: Sequence[Node], needed: Callable[[Node], bool]) -> tuple[Node, ...]:
    """The values of a segment that are needed after it; views by what they look at."""
    computed = {n for n in inside if not is_input(n)}
    found: dict[Node, None] = {}
    for node in inside:
        if node in computed and needed(node):
            while node.op.name in _VIEWS and node in computed:
                node = node.inputs[0]
            if node in computed:
                found[node] = None
    return tuple(found)


class LateNumbers:
    """Inputs that are numbers, computed from values that the function asked for.

    Args:
        scalars: Expression and type of each.
    """

    def __init__(self, scalars: Iterable[tuple[Expression, TensorType]]) -> None:
        expressions, self.types = [], []
        for expression, type_ in scalars:
            expressions.append(expression)
            self.types.append(type_)
        self._evaluate = evaluator(expressions) if expressions else None

    def __call__(self, symbols: Mapping[int, Any], sizes: Values) -> list[Tensor] | None:
        """The inputs, given the values of symbols, and counts; None where Python refuses to compute one."""
        if self._evaluate is None:
            return []
        evaluate = self._evaluate(sizes)
        values = None if evaluate is None else evaluate(symbols)
        if values is None:
            return None
        return [new_tensor(array_of(v, t)) for v, t in zip(values, self.types, strict=True)]


NO_NUMBERS = LateNumbers(())


def cut(recorded: Recorded, saved: tuple[Node, ...]) -> tuple[Recorded, LateNumbers]:
    """A recording that is given the values saved as further arguments, and then numbers."""
    recording = recorded.recording
    placeholders = {n: input_node(n.type, f"saved{k}") for k, n in enumerate(saved)}
    outputs = substitute(recording.graph.outputs, dict(placeholders))
    checked = substitute([c.node for c in recording.checks], dict(placeholders))
    used = set(topological((*outputs, *checked)))
    late = {n: scalar for n, scalar in recording.late.items() if n in used}
    given = {n: _placeholder(n.type) for n in (*placeholders.values(), *late)}
    count = len(recorded.arguments)
    more = tuple(
        Lifted(n, t._storage, t._array, count + k, None, whole=True)
        for k, (n, t) in enumerate(given.items())
        if n in used
    )
    inputs = (*(v for v in recording.inputs if v.node not in recording.late), *more)
    ending = replace(
        recording,
        graph=Graph(tuple(v.node for v in inputs), outputs, recording.graph.name),
        inputs=inputs,
        decisions=[],
        checks=tuple(c._replace(node=n) for c, n in zip(recording.checks, checked, strict=True)),
    )
    return replace(recorded, recording=ending, arguments=(*recorded.arguments, *given.values())), LateNumbers(
        late.values()
    )


def _placeholder(type_: TensorType) -> Tensor:
    """A tensor of a type, that takes no memory to speak of."""
    xp = module(type_.device)
    with on(type_.device):
        return new_tensor(xp.broadcast_to(xp.zeros((), type_.dtype.numpy), type_.shape))


def positions(arguments: Sequence[Tensor]) -> dict[int, int]:
    return {id(t): k for k, t in enumerate(arguments)}
