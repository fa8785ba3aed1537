"""Rematerialisation undone where one kernel computes a value and all that the backward part makes of it.

`tracec.optimize.remat` lets the backward part compute values again rather than keep them, which pays where the two
parts lie apart. Where they meet, as in a loss with its gradient or a softmax with its gradient in one function, the
value is still in registers when the backward part asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tracec.ir.graph import Graph, topological
from tracec.ir.lower import ContractionSpec, Library, Scan, Scatter
from tracec.ir.node import Node, input_node, is_constant, is_input
from tracec.plan.group import Group
from tracec.plan.partition import MAX_NODES, Partition

#: Regions of more nodes are left as they are: a kernel takes no more, and looking at them takes time.
MOST = 2 * MAX_NODES


def undo_remat(graph: Graph, partition: Callable[[Graph], Partition], *, given: bool = False) -> Graph:
    """Let backward nodes read the forward value itself where one kernel can hold both; the same values.

    Args:
        graph: What is to be planned.
        partition: Parts a graph into kernels.
        given: Whether what readers compute from inputs alone is also taken back, wherever it is read.

    Returns:
        The graph itself where there is nothing to take back.
    """
    order = topological(graph.outputs)
    if not any(map(_is_copy, order)):
        return graph
    number = _numbered(order)
    joint = _joint(order, number)
    depth = _depths(order)
    meet = {depth[n] for n in order for i in n.inputs if _is_copy(i) and not _is_copy(n) and depth[i] == depth[n]}
    outputs = {joint[number[o]] for o in graph.outputs}
    nodes = list(dict.fromkeys(joint[number[n]] for n in order))
    level = {joint[number[n]]: depth[n] for n in order}
    kernels = {d: _Kernels([n for n in nodes if level[n] == d], outputs, nodes, partition, given) for d in meet}
    taken = {
        (node, k)
        for node in order
        if not _is_copy(node) and (near := kernels.get(depth[node])) is not None
        for k, i in enumerate(node.inputs)
        if _is_copy(i) and near.together(joint[number[node]], joint[number[i]])
    }
    if not taken:
        return graph
    new: dict[Node, Node] = {}
    for node in order:
        if is_input(node):
            new[node] = node
            continue
        operands = [joint[number[i]] if (node, k) in taken else new[i] for k, i in enumerate(node.inputs)]
        new[node] = (node if _is_copy(node) else joint[number[node]]).with_inputs(tuple(operands))
    return graph.with_outputs(tuple(new[o] for o in graph.outputs))


def _is_copy(node: Node) -> bool:
    return node.origin.startswith("remat")


def _numbered(order: Iterable[Node]) -> dict[Node, int]:
    """Node → a number that it shares with those that compute the same."""
    classes: dict[Any, int] = {}
    number: dict[Node, int] = {}
    for node in order:
        key = node if is_input(node) else (node.op, node.type, repr(node.params), *(number[i] for i in node.inputs))
        number[node] = classes.setdefault(key, len(classes))
    return number


def _joint(order: Iterable[Node], number: dict[Node, int]) -> dict[int, Node]:
    """By number, the nodes of the graph in which nothing is computed again."""
    first: dict[int, Node] = {}
    for node in order:
        if _is_copy(first.setdefault(number[node], node)):
            first[number[node]] = node
    found: dict[int, Node] = {}
    for node in order:
        if number[node] not in found:
            one = first[number[node]]
            one = replace(one, origin="") if _is_copy(one) else one  # the forward part has no use of it itself
            found[number[node]] = one.with_inputs(tuple(found[number[i]] for i in one.inputs))
    return found


def _depths(order: Iterable[Node]) -> dict[Node, int]:
    """How many nodes that stand apart, such as products, lie one behind the other on the way to each node."""
    depth: dict[Node, int] = {}
    for node in order:
        apart = isinstance(node.op.lower, (ContractionSpec, Library, Scan, Scatter))
        depth[node] = max((depth[i] for i in node.inputs), default=0) + apart
    return depth


class _Kernels:
    """How a region of a graph would be parted into kernels.

    Args:
        region: Its nodes, operands first.
        outputs: The graph's outputs.
        nodes: The graph's nodes.
        partition: Parts a graph into kernels.
        given: Whether what comes from inputs alone is together with all that reads it.
    """

    def __init__(
        self, region: list[Node], outputs: set[Node], nodes: list[Node], partition: Callable[[Graph], Partition],
        given: bool,
    ) -> None:  # fmt: skip
        self._given = given
        self._image: dict[Node, Node] = {}
        self._group_of: dict[Node, Group] = {}
        self._home: dict[Node, Group | None] = {}
        self._read_by_others: frozenset[Node] = frozenset()
        self._users: dict[Node, list[Node]] = {}
        if len(region) > MOST:
            return
        inside = set(region)
        read = {i for n in nodes if n not in inside for i in n.inputs}
        image = self._image
        operands: list[Node] = []
        for node in region:
            for i in node.inputs:
                if i not in image and not is_constant(i):
                    image[i] = input_node(i.type)
                    operands.append(image[i])
            if is_input(node):
                image.setdefault(node, node)
            else:
                image[node] = node.with_inputs(tuple(image.get(i, i) for i in node.inputs))
        operands += [image[n] for n in region if is_input(n) and image[n] is n]
        results = [image[n] for n in region if n in read or n in outputs]
        graph = Graph(tuple(operands), tuple(dict.fromkeys(results)))
        parts = partition(graph)
        self._group_of = parts.group_of
        self._users = graph.users()
        # What other kernels read would have to be stored; they had better compute it themselves.
        self._read_by_others = frozenset[Node]().union(*(g.operands for g in parts.groups))

    def together(self, reader: Node, operand: Node) -> bool:
        """Whether one kernel computes the reader and what it reads, and the reader is for that kernel alone."""
        mine = self._image.get(reader)
        if mine is None or operand not in self._image or mine in self._read_by_others:
            return False
        kernel = self._kernel_of(mine)
        image = self._image[operand]
        return kernel is not None and (self._reaches(image, kernel) or (self._given and self._reaches(image, None)))

    def _kernel_of(self, node: Node) -> Group | None:
        """The kernel of a node; one that is computed where it is read has that of its only reader, or none."""
        found = self._group_of.get(node)
        if found is not None:
            return found
        if node not in self._home:
            readers = {self._kernel_of(u) for u in self._users.get(node, ())}
            self._home[node] = readers.pop() if len(readers) == 1 else None
        return self._home[node]

    def _reaches(self, node: Node, kernel: Group | None) -> bool:
        """Whether what a node is computed from, or the node itself, is computed in that kernel; for None, in none."""
        stack, seen = [node], set()
        while stack:
            n = stack.pop()
            if n in seen or is_input(n):
                continue
            seen.add(n)
            group = self._group_of.get(n)
            if group is kernel is not None:
                return True
            if group is None:
                stack.extend(n.inputs)
            elif kernel is None:
                return False
        return kernel is None
