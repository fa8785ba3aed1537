"""Structural memoisation: what is worked out for one group of nodes is used for all groups of the same structure.

A model's layers have the same structure, and so have the plans that are compared. Nodes are alike where the same
operators with the same parameters compute them from values of the same types in the same way. They read their operands
at the same indices then, and groups of them are the same loops over other buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, TypeVar

from tracec.ir.conditions import WATCH
from tracec.ir.extent import formula_key, is_varying
from tracec.ir.graph import Graph
from tracec.ir.kernel import Kernel
from tracec.ir.node import Node, is_constant
from tracec.ir.types import Shape
from tracec.plan.side_by_side import side_by_side

T = TypeVar("T")


class Alike:
    """What was found for nodes and groups, by what is the same for all that are alike, while one graph is planned.

    What is learned of sizes that vary while something is found holds for all that are alike: conditions are those of
    the whole plan.

    Args:
        graph: What is planned.
    """

    def __init__(self, graph: Graph) -> None:
        varies = any(is_varying(n.shape) for n in graph.inputs)
        self._keeps = WATCH.named or not varies  # otherwise texts of parameters do not tell formulas
        #: Sizes that vary are alike where they are the same for all calls, and are compared by their formulas.
        self._key: Callable[[Any], Any] = formula_key if varies or WATCH.named else lambda key: key
        self._labels: dict[Node, int] = {}
        self._numbers: dict[Any, int] = {}
        self._found: dict[Any, Any] = {}
        #: Identity of a shape → it, and its key.
        self._shapes: dict[int, tuple[Shape, Any]] = {}

    def find(self, key: Any, work_out: Callable[[], T]) -> T:
        """What is found for a key: once for all that have the same one.

        Args:
            key: The key.
            work_out: Gives what is to be found, which depends on the key alone.
        """
        if not self._keeps:
            return work_out()
        key = self._key(key)
        if key not in self._found:
            self._found[key] = work_out()
        found: T = self._found[key]
        return found

    def distinct(self, shapes: Iterable[Shape]) -> dict[Any, Shape]:
        """Shapes that differ for some sizes, each once, by what is the same for all calls."""
        found: dict[Any, Shape] = {}
        for shape in shapes:
            known = self._shapes.get(id(shape))
            if known is None:  # which is kept, so that nothing else is where it is
                known = self._shapes[id(shape)] = shape, formula_key(shape)
            found[known[1]] = shape
        return found

    def of(self, kernel: Kernel, what: Any, work_out: Callable[[], T]) -> T:
        """What is found for a kernel; that of kernels that are alike is the same object.

        Args:
            kernel: The kernel.
            what: What is to be found.
            work_out: Gives it, from the kernel's buffers and body alone.
        """
        # Bodies are told apart by where they are, and so are kept.
        return self.find((id(kernel.body), what), lambda: (work_out(), kernel.body))[0]

    def traced(
        self, nodes: Iterable[Node], inlined: Container[Node], marks: Mapping[Node, Any]
    ) -> tuple[int, dict[Node, int]]:
        """How nodes are computed, as a number that is the same for all that are alike.

        Args:
            nodes: The nodes, in an order that counts.
            inlined: Nodes that are looked through; the others that are read are values in memory.
            marks: What else must be the same of a node.

        Returns:
            The number, and the place of each node that was come by: those at the same place correspond.
        """
        place = {node: k for k, node in enumerate(nodes)}
        written: list[Any] = []
        stack = list(place)[::-1]
        members = set(stack)
        while stack:
            node = stack.pop()
            if node not in members and node not in inlined and not is_constant(node):
                written.append((node.type, marks.get(node)))
                continue
            new = [i for i in dict.fromkeys(node.inputs) if i not in place]
            for operand in new:
                place[operand] = len(place)
            stack += reversed(new)
            written.append((self._label(node), marks.get(node), tuple(place[i] for i in node.inputs)))
        return self._number(tuple(written)), place

    def _label(self, node: Node) -> int:
        """A number for what a node does by itself."""
        label = self._labels.get(node)
        if label is None:
            # repr tells 0.0 from -0.0 and makes nan equal to itself.
            what = (node.op, node.type, repr(node.params), side_by_side(node))
            label = self._labels[node] = self._number(what)
        return label

    def _number(self, key: Any) -> int:
        return self._numbers.setdefault(self._key(key), len(self._numbers))
