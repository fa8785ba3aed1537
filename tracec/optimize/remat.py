"""Rematerialisation: which forward values the backward part keeps, and which it computes again, by a minimum cut.

As the min-cut partitioner of AOTAutograd: cheap nodes may be computed again, and keeping a value costs its bytes. How
long a chain may be computed again is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import networkx as nx

from tracec.ir.exact import VARIATES
from tracec.ir.extent import plain
from tracec.ir.graph import Graph, backward_part, recomputed_in, topological_until
from tracec.ir.node import Node, is_constant, is_input

#: Families that may be computed again: they fuse into the kernel that reads them.
_CHEAP = frozenset({"elementwise", "view"})
#: Cheap by name, whatever their family.
_CHEAP_OPERATORS = frozenset({"iota", "cast"})
#: Elementwise operators that cost many instructions.
_COSTLY = frozenset(
    {"exp", "expm1", "log", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh", "cosh", "tanh"}
    | {"exp2", "log2", "log10", "asinh", "acosh", "atanh", "hypot", *VARIATES}
    | {"erf", "sigmoid", "pow", "floor_div", "remainder", "fmod", "nextafter"}
)
#: The longest chain that is computed again. Every so often a value of a longer one is kept, or else the
#: backward part would run the whole forward part again and keep its values instead.
_LONGEST_CHAIN = 16
#: Capacities are integers, in 1/64 byte.
_PER_BYTE = 64
#: Computing an element again costs as much as keeping this many 64ths of it.
_EASY, _HARD = 2, 16
#: A node more costs this many bytes, so that small values are not chased.
_NODE_BYTES = 256


def remat(graph: Graph) -> Graph:
    """Keep the fewest bytes for the backward part, where elementwise nodes and views are computed again instead.

    The backward part is every node whose origin starts with ``vjp`` and what depends on one. Kept are the
    values of a minimum cut between what cannot be computed again (inputs, contractions, reductions, sorts,
    random numbers) and what the backward part reads; of several the one closest to the backward part.
    Graph inputs and outputs live through it anyway and cost nothing. Copies have the origin ``remat``.
    """
    backward = backward_part(graph)
    needed = {i for n in backward for i in n.inputs if i not in backward and _is_value(i)}
    again = _computed_again(graph, needed)
    again -= _stored_anyway(graph, backward)
    if not again:
        return graph
    return recomputed_in(graph, backward, again)[0]


def _is_value(node: Node) -> bool:
    return not is_input(node) and not is_constant(node)


def _is_cheap(node: Node) -> bool:
    return node.op.family in _CHEAP or node.op.name in _CHEAP_OPERATORS


def _computed_again(graph: Graph, needed: set[Node]) -> set[Node]:
    """The nodes to copy into the backward part."""
    order = [n for n in topological_until(needed, ()) if not is_constant(n)]
    fixed = _fixed(order)
    again: set[Node] = set()
    for part in _components(order, needed, fixed):
        again |= _cut(part, needed, fixed, set(graph.outputs))
    return again


def _stored_anyway(graph: Graph, backward: set[Node]) -> set[Node]:
    """Values that contractions of both parts read: they are in memory, and would be written there twice."""
    forward_reads, backward_reads = set[Node](), set[Node]()
    for node in graph.nodes:
        if node.op.family == "contraction":
            reads = backward_reads if node in backward else forward_reads
            for operand in node.inputs:
                while operand.op.family == "view" and len(operand.inputs) == 1:
                    operand = operand.inputs[0]
                reads.add(operand)
    return forward_reads & backward_reads


def _fixed(order: Iterable[Node]) -> set[Node]:
    """Nodes that are never computed again."""
    fixed: set[Node] = set()
    length: dict[Node, int] = {}
    for node in order:
        length[node] = 1 + max((length[i] for i in node.inputs if i in length), default=0)
        if is_input(node) or not _is_cheap(node) or length[node] > _LONGEST_CHAIN:
            fixed.add(node)
            length[node] = 0
    return fixed


def _components(order: list[Node], needed: set[Node], fixed: set[Node]) -> list[list[Node]]:
    """The nodes between fixed ones and needed ones, split where no edge joins them; each can be cut by itself."""
    wanted = set(needed)
    edges: Any = nx.Graph()
    for node in reversed(order):
        if node not in wanted or node in fixed:
            continue
        edges.add_node(node)
        for i in node.inputs:
            if not is_constant(i):
                wanted.add(i)
                edges.add_edge(node, i)
    position = {n: p for p, n in enumerate(order)}
    return [sorted(part, key=position.__getitem__) for part in nx.connected_components(edges)]


def _cut(part: list[Node], needed: set[Node], fixed: set[Node], outputs: set[Node]) -> set[Node]:
    """The nodes of one component that are computed again."""
    flow: Any = nx.DiGraph()
    for node in part:
        kept = 0 if is_input(node) or node in outputs else _PER_BYTE * plain(node.type.nbytes)
        flow.add_edge((node, "in"), (node, "out"), capacity=kept)
        if node in fixed:
            flow.add_edge("source", (node, "in"))
        else:
            flow.add_edge("source", (node, "in"), capacity=_price(node))
            for i in node.inputs:
                if not is_constant(i):
                    flow.add_edge((i, "out"), (node, "in"))
        if node in needed:
            flow.add_edge((node, "out"), "sink")
    # The side of the sink holds only what can still reach it: of all minimum cuts the one closest to it.
    _, (_, sink_side) = nx.minimum_cut(flow, "source", "sink")
    return {node for node in part if (node, "in") in sink_side and node not in fixed}


def _price(node: Node) -> int:
    per_byte = _HARD if node.op.name in _COSTLY else 0 if node.op.family == "view" else _EASY
    nbytes: int = plain(node.type.nbytes)
    return per_byte * nbytes + _PER_BYTE * _NODE_BYTES
