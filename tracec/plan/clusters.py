"""Thread block clusters: rows too long for one block, and read by more than one loop, are kept on chip by several.

Their reductions are left whole, since the blocks of a cluster share them, and nothing is read a second time.
"""

from __future__ import annotations

from tracec.ir.extent import formula_key, plain
from tracec.ir.graph import Graph
from tracec.ir.lower import Reduction
from tracec.ir.node import Node, is_constant
from tracec.plan.partition import MIN_ROWS
from tracec.plan.space import Space, of_shape


def rows_of_clusters(graph: Graph, row_bytes: int, cluster_bytes: int) -> set[object]:
    """How many rows of how many elements clusters keep, as `formula_key` has them.

    Args:
        graph: What is computed.
        row_bytes: Bytes of a row that one block keeps.
        cluster_bytes: Bytes of a row that a cluster keeps.
    """
    found: set[object] = set()
    if cluster_bytes <= row_bytes:
        return found
    below: dict[Node, Space] = {}  # what depends on a row's result, and has one element for each row
    for node in graph.nodes:
        if is_constant(node):
            continue
        space = long_rows_of(node, row_bytes, cluster_bytes)
        if space is not None:
            below[node] = space
        for operand in node.inputs:
            rows = below.get(operand)
            if rows is None:
                continue
            if node.type.size == rows.total:  # what is computed for each element, which is read again for it
                found.add(formula_key(rows.extents))
            elif space is None and node.type.size == rows.kept:
                below[node] = rows
    return found


def long_rows_of(node: Node, row_bytes: int, cluster_bytes: int) -> Space | None:
    """The contiguous rows that a node reduces, where a cluster has room for them and one block has not."""
    lower = node.op.lower
    if not isinstance(lower, Reduction) or lower.axes is None or is_constant(node.inputs[0]):
        return None
    operand = node.inputs[0]
    space = of_shape(operand.shape, node.param("axes")).normal()
    if space.reduced != (False, True) or plain(space.kept) < MIN_ROWS:  # of fewer nothing is fused with the reduction
        return None
    least, most = stored_bytes(operand), operand.dtype.compute.itemsize
    row: int = plain(space.row)
    return space if row_bytes < row * most and row * least <= cluster_bytes else None


def stored_bytes(operand: Node) -> int:
    """Bytes of an element of what is read for an operand, where that is one value."""
    read = operand.inputs[0] if operand.op.name == "cast" else operand
    return min(read.dtype.itemsize, operand.dtype.itemsize)
