"""Where a node reads: through nodes that are computed where they are read, to values in memory."""

from __future__ import annotations

from tracec.ir import index as ix
from tracec.ir.kernel import Const, Expr
from tracec.ir.lower import Index, Reduction, input_types
from tracec.ir.node import Node
from tracec.plan.access import Access
from tracec.plan.alike import Alike
from tracec.plan.side_by_side import side_by_side
from tracec.plan.space import FULL, Space, reduction_index
from tracec.plan.stripes import COLUMN, column_index


class Reader(Access):
    """Follows a node's operands through inlined nodes to values in memory, and at which index."""

    def __init__(self, inlined: dict[Node, int]) -> None:
        self.inlined = inlined
        self.found: list[tuple[Node, Index]] = []
        self._memo: set[tuple[Node, Index]] = set()

    def read(self, node: Node, index: Index) -> Expr:
        key = (node, index)
        if node in self.inlined:
            if key not in self._memo:
                self._memo.add(key)
                self.element(node, index)
        elif key not in self._memo:
            self._memo.add(key)
            self.found.append(key)
        return Const(0, node.dtype.compute)


class Reads:
    """Where the nodes of a graph read.

    Args:
        inlined: Nodes that readers compute anew.
        alike: What was found for nodes like these before.
    """

    def __init__(self, inlined: dict[Node, int], alike: Alike) -> None:
        self._inlined = inlined
        self._alike = alike
        #: Node → how it is computed, as a number, and what that depends on: a node is asked for in many groups.
        self._traced: dict[Node, tuple[int, list[Node]]] = {}

    def positions(self, node: Node, space: Space, level: str, stripes: int) -> list[tuple[Node, Expr]]:
        """Values that a node reads, with the position among their elements in a space's loop variables.

        Args:
            node: A member of a group.
            space: The group's loops.
            level: Whether the node has an element for each point, one a row or one a stripe's column.
            stripes: How many stripes the rows are parted into.
        """
        if node not in self._traced:
            number, place = self._alike.traced((node,), self._inlined, {})
            self._traced[node] = number, list(place)
        traced, nodes = self._traced[node]

        def find() -> list[tuple[int, Expr]]:
            reader = Reader(self._inlined)
            _read(reader, node, space, level, stripes)
            place = {n: k for k, n in enumerate(nodes)}
            return [(place[n], ix.flatten(at, n.shape)) for n, at in reader.found]

        return [(nodes[k], at) for k, at in self._alike.find(("reads", traced, space.key, level, stripes), find)]


def _read(reader: Reader, node: Node, space: Space, level: str, stripes: int) -> None:
    """Have a node's operands read, at multi-indices in a space's loop variables."""
    if level == COLUMN:
        reader.reduced_element(node, *column_index(node, space, stripes))
    elif isinstance(node.op.lower, Reduction) and space.has_reduction:
        reader.reduced_element(node, *reduction_index(node, space))
    elif isinstance(node.op.lower, Reduction):
        reader.reduced_element(node, ix.unflatten(space.flat, node.shape), _zeros(node))
    elif side_by_side(node):
        for part in node.inputs:
            reader.read(part, ix.unflatten(space.flat, part.shape))
    else:
        flat = space.flat if level == FULL else space.row_flat
        reader.element(node, ix.unflatten(flat, node.shape))


def _zeros(node: Node) -> Index:
    lower = node.op.lower
    assert isinstance(lower, Reduction)
    return tuple(Const(0) for _ in lower.extents(input_types(node), **dict(node.params)))
