"""Bounds analysis of computed indices: which are known to be in range, and which have to be kept in it by the program.

Interval arithmetic over the graph's integers. What is not known is clamped, and tested as a condition of the call
(`tracec.record.check`), so that no index reads or writes outside of its memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np

from tracec import ops
from tracec.ir.extent import like
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, constant, is_constant, made_from
from tracec.record.recording import Check

#: Operators whose operands from a place on are positions along the axes of the first one that ``axes`` names.
_ADDRESSING = {"index": 1, "index_put": 2, "index_combine": 2}
#: Operators whose results are elements of the first operand, and nothing else.
_MOVED = frozenset({"reshape", "transpose", "expand", "flip", "slice", "index", "min", "max", "cummax", "cummin"})
#: Views that hold all of their operand's values, and no others.
SAME_VALUES = frozenset({"reshape", "transpose", "expand", "flip"})
#: Operators whose results are positions along an axis of their operand.
POSITIONS = frozenset({"argmax", "argmin", "argsort", "ranked"})

Interval = tuple[int, int]
NOTHING: Mapping[Node, Interval] = MappingProxyType({})


def within_memory(graph: Graph, told: Mapping[Node, Interval] = NOTHING) -> Graph:
    """The graph with positions kept in range that are not known to be: values may be other than a function takes.

    Args:
        graph: The graph.
        told: What is known of integers beforehand: the least and the largest.
    """
    known: dict[Node, Interval] = {}
    new: dict[Node, Node] = {}
    for node in topological(graph.outputs):
        if node.dtype.kind in "iub":
            known[node] = told[node] if node in told else _interval(node, known)
        operands = [new[n] for n in node.inputs]
        first = _ADDRESSING.get(node.op.name)
        if first is not None:
            for k, axis in enumerate(node.param("axes"), first):
                position, size = node.inputs[k], node.inputs[0].shape[axis]
                low, high = known[position]
                if position.type.size and (low < 0 or not (like(high, size - 1) or high < size)):
                    operands[k] = _kept(operands[k], 0, size - 1 if size else 0)
        elif node.op.name == "order_of_rows":  # pivots, counted from 1
            low, high = known[node.inputs[0]]
            if low < 1 or not (like(high, node.param("rows")) or high <= node.param("rows")):
                operands[0] = _kept(operands[0], 1, node.param("rows"))
        new[node] = node.with_inputs(tuple(operands))
    outputs = tuple(new[o] for o in graph.outputs)
    same = all(a is b for a, b in zip(outputs, graph.outputs, strict=True))
    return graph if same else Graph(graph.inputs, outputs, graph.name)


def body_in_memory(graph: Graph, checks: Sequence[Check]) -> tuple[Graph, list[Check]]:
    """The body of a loop or a branch so, and over it the conditions on its values, which are tested afterwards."""
    if not checks:
        return graph, []
    whole = within_memory(graph.with_outputs((*graph.outputs, *(c.node for c in checks))))
    count = len(graph.outputs)
    rest = [c._replace(node=n) for c, n in zip(checks, whole.outputs[count:], strict=True)]
    return whole.with_outputs(whole.outputs[:count]), rest


def unviewed(node: Node) -> Node:
    """What a value is a view of that holds the same elements: a condition on one is a condition on the other."""
    while node.op.name in SAME_VALUES and node.type.size:
        node = node.inputs[0]
    return node


def _kept(position: Node, first: int, last: int) -> Node:
    if position.dtype.itemsize < 8:
        last = min(last, int(np.iinfo(position.dtype.numpy).max))
    with made_from(position.source, "kept in memory"):
        kept: Node = ops.minimum(ops.maximum(position, constant(first, position.type)), constant(last, position.type))
    return kept


def _interval(node: Node, known: dict[Node, Interval]) -> Interval:
    """The least and the largest that integers may be."""
    reach = _reach(node)
    if is_constant(node):
        value = node.param("value")
        return value, value
    rule = _RULES.get(node.op.name)
    inputs = [known.get(n) for n in node.inputs]
    if node.op.name in _MOVED and node.type.size and node.inputs[0].type.size:
        found = inputs[0]
    elif node.op.name in POSITIONS:
        found = 0, max(node.inputs[0].shape[node.param("axis")] - 1, 0)
    elif node.op.name == "iota":
        found = 0, max(node.shape[node.param("axis")] - 1, 0)
    elif rule is not None and None not in inputs:
        found = rule(node, known, *inputs)
    else:
        found = None
    return reach if found is None or found[0] < reach[0] or found[1] > reach[1] else found


def _reach(node: Node) -> Interval:
    """What elements of the type can be."""
    if node.dtype.kind == "b":
        return 0, 1
    ends = np.iinfo(node.dtype.numpy)
    return int(ends.min), int(ends.max)


def _chosen(node: Node, known: dict[Node, Interval], _: Any, one: Interval, other: Interval) -> Interval:
    """What `where` gives; where it chooses by the sign of a value and counts from the end, each side for its sign."""
    condition, then, rest = node.inputs
    if condition.op.name == "lt" and condition.inputs[0] is rest and _is_zero(condition.inputs[1]):
        low, high = other
        if then.op.name == "add" and then.inputs[0] is rest and low < 0:
            more = known[then.inputs[1]]
            one = low + more[0], min(high, -1) + more[1]
        other = max(low, 0), max(high, 0)
        if low >= 0:
            return other
    return min(one[0], other[0]), max(one[1], other[1])


def _is_zero(node: Node) -> bool:
    while node.op.name == "expand":
        node = node.inputs[0]
    return is_constant(node) and not node.param("value")


def _all(node: Node, known: dict[Node, Interval], *parts: Interval) -> Interval:
    return min(p[0] for p in parts), max(p[1] for p in parts)


def _remainder(node: Node, known: dict[Node, Interval], a: Interval, b: Interval) -> Interval | None:
    return (0, b[1] - 1) if b[0] > 0 else None


def _quotient(node: Node, known: dict[Node, Interval], a: Interval, b: Interval) -> Interval | None:
    return (a[0] // b[1], a[1] // b[0]) if a[0] >= 0 and b[0] > 0 else None


def _product(node: Node, known: dict[Node, Interval], a: Interval, b: Interval) -> Interval:
    ends = [prod(pair) for pair in ((x, y) for x in a for y in b)]
    return min(ends), max(ends)


_RULES: dict[str, Any] = {
    "where": _chosen,
    "concatenate": _all,
    "cast": lambda node, known, a: a,
    "add": lambda node, known, a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda node, known, a, b: (a[0] - b[1], a[1] - b[0]),
    "mul": _product,
    "minimum": lambda node, known, a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "maximum": lambda node, known, a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "remainder": _remainder,
    "floor_div": _quotient,
}
