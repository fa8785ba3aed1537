"""A graph: inputs, outputs, and the nodes between in an order in which they can be computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

from tracec.ir.node import Node


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """An immutable dataflow graph.

    Attributes:
        inputs: Values given from outside, in order; each an ``input`` node.
        outputs: Values computed, in order; may repeat, and may be inputs.
        name: Name in text.
        nodes: Every node that an output needs, operands first, inputs and constants left out.
    """

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    name: str = "graph"
    nodes: tuple[Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        order = tuple(n for n in topological(self.outputs) if n.op.name not in ("input", "constant"))
        object.__setattr__(self, "nodes", order)

    def map(self, rule: Callable[[Node], Node]) -> Graph:
        """Rebuild every node through ``rule``, operands first; the same graph where nothing changes.

        ``rule`` is given a node whose operands are already rebuilt and returns what takes its place.
        """
        new: dict[Node, Node] = {}
        for node in topological(self.outputs):
            if node.op.name == "input":
                new[node] = node
            else:
                new[node] = rule(node.with_inputs(tuple(new[i] for i in node.inputs)))
        return self.with_outputs(tuple(new[o] for o in self.outputs))

    def with_outputs(self, outputs: Sequence[Node]) -> Graph:
        """The same inputs with other outputs; the same graph where they are the same nodes."""
        if len(outputs) == len(self.outputs) and all(a is b for a, b in zip(outputs, self.outputs, strict=True)):
            return self
        return Graph(self.inputs, tuple(outputs), self.name)

    def users(self) -> dict[Node, list[Node]]:
        """Node → the nodes that take it as an operand, once for each time."""
        found: dict[Node, list[Node]] = {n: [] for n in (*self.inputs, *self.nodes)}
        for node in self.nodes:
            for i in node.inputs:
                found.setdefault(i, []).append(node)
        return found

    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for graphs of the same structure; source lines do not count."""
        index: dict[Node, int] = {n: i for i, n in enumerate(self.inputs)}
        rows: list[Any] = [tuple(n.type for n in self.inputs)]

        def ref(n: Node) -> Any:
            # repr tells 0.0 from -0.0 and makes nan equal to itself
            return index[n] if n in index else (n.type, repr(n.params))

        for node in self.nodes:
            rows.append((node.op.name, tuple(ref(i) for i in node.inputs), node.params, node.type))
            index[node] = len(index)
        rows.append(tuple(ref(o) for o in self.outputs))
        return tuple(rows)

    def __str__(self) -> str:
        from tracec.ir.text import format_graph  # eager programs show no graphs

        return format_graph(self)

    def __repr__(self) -> str:
        return f"<graph {self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes, {len(self.outputs)} outputs>"


def backward_part(graph: Graph) -> set[Node]:
    """What differentiation made, the copies made for it, and what depends on either: told by `Node.origin`."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node.origin.startswith(("vjp", "remat")) or any(i in found for i in node.inputs):
            found.add(node)
    return found


def recomputed_in(graph: Graph, backward: Set[Node], again: Set[Node]) -> tuple[Graph, dict[Node, Node]]:
    """The graph whose backward part reads copies, of origin ``remat``, of some forward nodes; and the copies."""
    copies: dict[Node, Node] = {}
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in again:
            copies[node] = replace(node, inputs=tuple(copies.get(i, i) for i in node.inputs), origin="remat")
        if node in backward:
            new[node] = node.with_inputs(tuple(new.get(i) or copies.get(i, i) for i in node.inputs))
    return graph.with_outputs(tuple(new.get(o, o) for o in graph.outputs)), copies


def topological(outputs: Iterable[Node]) -> list[Node]:
    """Every node that the outputs need, operands first."""
    return topological_until(outputs, ())


def substitute(outputs: Sequence[Node], replacements: dict[Node, Node]) -> tuple[Node, ...]:
    """The outputs with some nodes (most often inputs) replaced wherever they occur."""
    new = dict(replacements)
    for node in topological_until(outputs, new):
        if node not in new:
            new[node] = node.with_inputs(tuple(new[i] for i in node.inputs))
    return tuple(new[o] for o in outputs)


def topological_until(outputs: Iterable[Node], stop: Iterable[Node]) -> list[Node]:
    """Like `topological`, leaving out the nodes in ``stop`` and what only they need.

    Iterative: graphs may be deeper than Python's stack.
    """
    order: list[Node] = []
    seen: set[Node] = set(stop)
    for output in outputs:
        if output in seen:
            continue
        stack: list[tuple[Node, int]] = [(output, 0)]
        seen.add(output)
        while stack:
            node, position = stack.pop()
            inputs = node.inputs
            while position < len(inputs):
                child = inputs[position]
                position += 1
                if child not in seen:
                    seen.add(child)
                    stack.append((node, position))
                    stack.append((child, 0))
                    break
            else:
                order.append(node)
    return order
