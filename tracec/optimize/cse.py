"""Common subexpression elimination: hash-consing of the graph."""

from __future__ import annotations

from typing import Any

from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, is_constant, is_input
from tracec.ir.rewrite import COMMUTATIVE


def cse(graph: Graph) -> Graph:
    """Merge nodes that apply the same operator to the same operands; the order of `add`'s does not count.

    A merged node keeps the source and origin of the first that the user wrote, rather than one that a
    derivative rule made: `remat` reads off origins where the backward part begins. What `remat`
    computes again merges only with its like.
    """
    classes: dict[Any, Node] = {}
    first: dict[Node, Node] = {}
    named_by: dict[Node, Node] = {}
    for node in topological(graph.outputs):
        known = first[node] = classes.setdefault(node if is_input(node) else _key(node, first), node)
        best = named_by.setdefault(known, node)
        if _made(best) and not _made(node):
            named_by[known] = node
    if len(classes) == len(first):
        return graph
    return _rebuild(graph, named_by, first)


def _key(node: Node, first: dict[Node, Node]) -> tuple[Any, ...]:
    # repr tells 0.0 from -0.0 and makes nan equal to itself.
    if is_constant(node):
        return node.op, repr(node.param("value")), node.type
    inputs: Any = tuple(first[i] for i in node.inputs)
    if node.op.name in COMMUTATIVE:
        inputs = frozenset(inputs)
    return node.op, inputs, repr(node.params), node.type, node.origin.startswith("remat")


def _made(node: Node) -> bool:
    return node.origin.startswith("vjp")


def _rebuild(graph: Graph, named_by: dict[Node, Node], first: dict[Node, Node]) -> Graph:
    new: dict[Node, Node] = {}
    for node, best in named_by.items():
        new[node] = best if is_input(best) else best.with_inputs(tuple(new[first[i]] for i in best.inputs))
    return graph.with_outputs(tuple(new[first[o]] for o in graph.outputs))
