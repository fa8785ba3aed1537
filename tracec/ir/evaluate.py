"""The reference semantics of a graph: runs it node by node with the operators' eager rules."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tracec.errors import ArgumentError
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, is_input
from tracec.ir.operator import Operator

#: ``(operator, operands, parameters, node) -> value``
ApplyNode = Callable[[Operator, Sequence[Any], Mapping[str, Any], Node], Any]


def evaluate(graph: Graph, inputs: Sequence[Any], apply: ApplyNode | None = None) -> list[Any]:
    """The graph's outputs for these inputs.

    Args:
        graph: What to run.
        inputs: One value for each input of the graph: NumPy or CuPy arrays, or whatever ``apply`` takes.
        apply: What a node means; called for constants too, which have no operands. None: the operators'
            eager rules over arrays.

    Returns:
        The values of the outputs, in order. A value is dropped after its last use.

    Raises:
        ArgumentError: more or fewer inputs than the graph has.
    """
    if len(inputs) != len(graph.inputs):
        raise ArgumentError(f"graph {graph.name}: takes {len(graph.inputs)} inputs, {len(inputs)} given")
    apply = apply or _eager(_array_module(graph, inputs))
    values: dict[Node, Any] = dict(zip(graph.inputs, inputs, strict=True))
    order = topological(graph.outputs)
    uses = Counter(i for n in order for i in n.inputs)
    uses.update(graph.outputs)
    for node in order:
        if is_input(node):
            continue
        values[node] = apply(node.op, [values[i] for i in node.inputs], dict(node.params), node)
        for i in node.inputs:
            uses[i] -= 1
            if not uses[i]:
                del values[i]
    return [values[o] for o in graph.outputs]


def _eager(xp: Any) -> ApplyNode:
    def apply(op: Operator, operands: Sequence[Any], params: Mapping[str, Any], node: Node) -> Any:
        if op.name == "constant":
            return xp.asarray(params["value"], dtype=node.dtype.numpy)
        # NumPy gives a bare scalar, not an array, where every operand is a scalar.
        return xp.asarray(op.eager(xp, *operands, **params))

    return apply


def _array_module(graph: Graph, inputs: Sequence[Any]) -> Any:
    """cupy where an input lives there (or, with no inputs, where the graph says cuda), else numpy."""
    cupy = sys.modules.get("cupy")
    if cupy is None:
        return np
    on_gpu = any(isinstance(x, cupy.ndarray) for x in inputs)
    by_type = not inputs and any(o.device.startswith("cuda") for o in graph.outputs)
    return cupy if on_gpu or by_type else np
