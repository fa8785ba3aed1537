"""Short axes of intermediate values are unrolled, for a GPU.

Differences of all pairs, squared and summed over three coordinates, are many times what they are computed from. As a
reduction of its own that value would be stored; written out it is part of whatever elementwise kernel reads it. So it
is with what is reduced along another axis, the three coordinates side by side: what they share, a force of all pairs,
is computed by the kernel that reduces all three.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.lower import Elementwise, Reduction
from tracec.ir.node import Node, is_constant, made_from
from tracec.ir.operator import OPERATORS

#: Elements that are written out at most.
FEW = 4
#: How many times larger the operand is than what it is computed from: less is not worth computing it again.
GROWTH = 64


def unroll_short_reductions(graph: Graph) -> Graph:
    """Reductions of a few elements that are computed from much less, as elementwise operators, and few side by side."""
    return graph.map(_unrolled).map(_apart)


def _unrolled(node: Node) -> Node:
    if not _is_plain(node) or len(node.param("axes")) != 1:
        return node
    lower, operand, (axis,) = node.op.lower, node.inputs[0], node.param("axes")
    assert isinstance(lower, Reduction)
    if is_varying(operand.shape[axis]) or not 2 <= operand.shape[axis] <= FEW:
        return node
    if operand.type.size < GROWTH * _read(operand):
        return node
    with made_from(node.source, node.origin or "unroll short reduction"):
        result = _at(operand, axis, 0, {})
        for place in range(1, operand.shape[axis]):
            result = OPERATORS[lower.combine](result, _at(operand, axis, place, {}))
        found: Node = OPERATORS["reshape"](result, shape=node.shape)
    return found


def _is_plain(node: Node) -> bool:
    named = node.op.name in ("sum", "prod", "max", "min") and isinstance(node.op.lower, Reduction)
    return named and node.dtype.compute is node.dtype


def _apart(node: Node) -> Node:
    """A reduction of few elements side by side as one for each of them, where they share what is computed."""
    if not _is_plain(node):
        return node
    operand, axes = node.inputs[0], node.param("axes")
    axis = operand.ndim - 1
    if axis < 0 or axis in axes or is_varying(operand.shape[axis:]) or not 2 <= operand.shape[axis] <= FEW:
        return node
    if operand.type.size < GROWTH * _read(operand) or not _share(operand):
        return node
    with made_from(node.source, node.origin or "few side by side"):
        kept = node.param("keepdims")
        places = range(operand.shape[axis])
        parts = [node.op(_at(operand, axis, place, {}), axes=axes, keepdims=kept) for place in places]
        found: Node = OPERATORS["concatenate"](*parts, axis=node.ndim - 1)
    return found


def _share(node: Node) -> bool:
    """Whether elements side by side are computed of one that they have in common, which is computed itself."""
    wanted = node.type.size // node.shape[-1]
    return any(n.shape[-1:] == (1,) and n.type.size == wanted and _is_computed(n) for n in _reached(node))


def _is_computed(node: Node) -> bool:
    while node.op.name == "reshape":
        node = node.inputs[0]
    return isinstance(node.op.lower, Elementwise)


def _read(node: Node) -> int:
    """Elements of all values that a node is computed from, element by element."""
    return max(sum(n.type.size for n in _reached(node) if not _goes_on(n)), 1)


def _reached(node: Node) -> Iterator[Node]:
    """A node, and what it is computed from, element by element."""
    seen: set[Node] = set()
    stack = [node]
    while stack:
        n = stack.pop()
        if n in seen or is_constant(n):
            continue
        seen.add(n)
        yield n
        if _goes_on(n):
            stack.extend(n.inputs)


def _goes_on(node: Node) -> bool:
    return isinstance(node.op.lower, Elementwise) or node.op.name in ("expand", "reshape")


def _at(node: Node, axis: int, place: int, done: dict[tuple[Node, int], Node]) -> Node:
    """The elements at one place of an axis, which stays with size 1: computed there, not cut out of the whole."""
    if is_constant(node) or axis < 0 or node.shape[axis] == 1:
        return node
    found = done.get((node, axis))  # many nodes may share an operand
    if found is None:
        found = done[node, axis] = _made_at(node, axis, place, done)
    return found


def _made_at(node: Node, axis: int, place: int, done: dict[tuple[Node, int], Node]) -> Node:
    own = [axis - (node.ndim - i.ndim) for i in node.inputs]
    found: Node
    if isinstance(node.op.lower, Elementwise):
        found = node.op(*(_at(i, a, place, done) for i, a in zip(node.inputs, own, strict=True)), **dict(node.params))
    elif node.op.name == "expand":
        shape = (*node.shape[:axis], 1, *node.shape[axis + 1 :])
        found = OPERATORS["expand"](_at(node.inputs[0], own[0], place, done), shape=shape)
    else:
        starts = tuple(place if a == axis else 0 for a in range(node.ndim))
        stops = tuple(place + 1 if a == axis else size for a, size in enumerate(node.shape))
        found = OPERATORS["slice"](node, starts=starts, stops=stops, steps=(1,) * node.ndim)
    return found
