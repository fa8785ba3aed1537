"""Vectorisation (vmap): from a graph for one example, the graph for many at once, by each operator's batching rule."""

from __future__ import annotations

from collections.abc import Sequence

from tracec import ops
from tracec.errors import ArgumentError
from tracec.ir.graph import Graph
from tracec.ir.node import Node, input_node, made_from


def vmap(graph: Graph, in_batched: Sequence[bool], size: int) -> Graph:
    """The graph whose chosen inputs, and all of whose outputs, carry a leading batch axis.

    What does not depend on a batched input is computed once. Random numbers are drawn once too, so that
    every example sees the same ones, unless the generator's state is batched.

    Args:
        graph: What to compute for each example.
        in_batched: For each input, whether it carries a leading axis of ``size``.
        size: Number of examples.

    Raises:
        ArgumentError: ``in_batched`` does not have one entry for each input.
    """
    if len(in_batched) != len(graph.inputs):
        raise ArgumentError(
            f"vmap: {len(in_batched)} entries in in_batched for {len(graph.inputs)} inputs",
            hint="give one bool for each input of the graph",
        )
    new: dict[Node, Node] = {}
    batched: set[Node] = set()
    for node, is_batched in zip(graph.inputs, in_batched, strict=True):
        new[node] = node
        if is_batched:
            new[node] = input_node(node.type.with_shape((size, *node.shape)), node.param("name"), node.source)
            batched.add(node)
    for node in graph.nodes:
        which = tuple(i in batched for i in node.inputs)
        operands = tuple(new.get(i, i) for i in node.inputs)
        if any(which):
            with made_from(node.source, f"vmap of {node.op.name}"):
                new[node] = node.op.batch(operands, which, size, **dict(node.params))
            batched.add(node)
        else:
            new[node] = node.with_inputs(operands)
    with made_from(None, "vmap"):
        outputs = tuple(
            new.get(o, o) if o in batched else ops.expand(new.get(o, o), shape=(size, *o.shape)) for o in graph.outputs
        )
    return Graph(tuple(new[i] for i in graph.inputs), outputs, f"vmap_{graph.name}")
