"""Partitions a joint graph into a forward and a backward one, joined by the residuals that the first one leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracec.ir.graph import Graph, substitute, topological, topological_until
from tracec.ir.node import Node, input_node, is_constant, is_input, made_from
from tracec.ir.operator import OPERATORS


@dataclass(frozen=True, slots=True)
class Later:
    """A part that runs later.

    Attributes:
        graph: Its inputs are the residuals, then the inputs of the whole that only later parts are given.
        residuals: For each residual where it comes from: (True, position of an output of the first part) or
            (False, position of an input of the first part).
    """

    graph: Graph
    residuals: tuple[tuple[bool, int], ...]


def split(
    graph: Graph, first: Sequence[int], later: Sequence[Sequence[int]], given_later: Sequence[Sequence[int]],
    overwritten: frozenset[int] = frozenset(),
) -> tuple[Graph, list[Later]]:  # fmt: skip
    """Split a graph by its outputs.

    Args:
        graph: The whole, forward and backward together.
        first: Positions of the outputs of the first part.
        later: For each later part the positions of its outputs.
        given_later: For each later part the positions of the inputs that only it is given.
        overwritten: Positions of inputs whose memory the first part writes; later parts get copies.

    Returns:
        The first part, whose outputs are those of ``first`` and then the residuals, and the later parts.
    """
    outputs = [graph.outputs[i] for i in first]
    absent = {graph.inputs[i] for positions in given_later for i in positions}
    before = set(topological(outputs))
    inputs_first = tuple(n for n in graph.inputs if n not in absent)
    position = {n: i for i, n in enumerate(inputs_first)}
    written = {graph.inputs[i] for i in overwritten}
    kept: dict[Node, tuple[bool, int]] = {}
    parts: list[Later] = []
    for chosen, given in zip(later, given_later, strict=True):
        wanted = [graph.outputs[i] for i in chosen]
        boundary = _boundary(wanted, before, absent)
        for node in boundary:
            if node in kept:
                continue
            if is_input(node) and node not in written:
                kept[node] = (False, position[node])
            else:
                kept[node] = (True, len(outputs))
                outputs.append(_copy(node) if is_input(node) else node)
        inside = {n: input_node(n.type, "", n.source) for n in boundary}
        body = substitute(wanted, dict(inside))
        inputs = (*inside.values(), *(graph.inputs[i] for i in given))
        parts.append(Later(Graph(inputs, body, f"{graph.name}_backward"), tuple(kept[n] for n in boundary)))
    return Graph(inputs_first, tuple(outputs), graph.name), parts


def _boundary(wanted: Sequence[Node], before: set[Node], absent: set[Node]) -> list[Node]:
    """Values of the first part, and inputs, that a later part reads; in order."""
    found: dict[Node, None] = {}
    known = {n for n in before if not is_constant(n)}
    for node in topological_until(wanted, known):
        for i in node.inputs:
            if i in known or (is_input(i) and i not in absent):
                found[i] = None
        if is_input(node) and node not in absent:
            found[node] = None
    for node in wanted:
        if node in known:
            found[node] = None
    return list(found)


def _copy(node: Node) -> Node:
    with made_from(node.source, "kept for later"):
        copied: Node = OPERATORS["expand"](node, shape=node.shape)
    return copied
