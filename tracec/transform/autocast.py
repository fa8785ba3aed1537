"""Mixed precision of a recorded graph: products are computed in 16 bits, everything else as it was."""

from __future__ import annotations

from tracec import ops
from tracec.errors import ArgumentError
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.ir.graph import Graph
from tracec.ir.node import Node, made_from

#: Operators that gain the most from 16 bits and add up in float32.
_PRODUCTS = frozenset({"dot", "conv", "conv_input_grad", "conv_weight_grad"})


def autocast(graph: Graph, dtype: DType = dt.bfloat16) -> Graph:
    """The graph with its float32 products computed in a 16-bit type; inputs and outputs keep their types.

    Args:
        graph: What to compute.
        dtype: ``float16`` or ``bfloat16``.

    Returns:
        The graph itself where it has no such product.

    Raises:
        ArgumentError: the type is another one.
    """
    if dtype not in (dt.float16, dt.bfloat16):
        raise ArgumentError(f"autocast: computes in float16 or bfloat16, {dtype!r} given")

    def rule(node: Node) -> Node:
        if node.op.name not in _PRODUCTS or any(i.dtype is not dt.float32 for i in node.inputs):
            return node
        with made_from(node.source, f"autocast of {node.op.name}"):
            narrow = node.op(*(ops.cast(i, dtype=dtype) for i in node.inputs), **dict(node.params))
            result: Node = ops.cast(narrow, dtype=node.dtype)
        return result

    return graph.map(rule)
