"""Graphs for other sizes: those with formulas in place of sizes, of which each gives a number."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from tracec.ir.body import Body
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, Values, at, is_varying, plain
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node
from tracec.ir.source import Source
from tracec.ir.types import TensorType

if TYPE_CHECKING:
    from tracec.ir.kernel import Kernel


class Resized:
    """Graphs for some sizes.

    Args:
        values: The sizes.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        self.nodes: dict[Node, Node] = {}
        self._bodies: dict[Body, Body] = {}

    def number(self, x: Any) -> Any:
        """A parameter for these sizes."""
        if isinstance(x, (Extent, Ratio)):
            return at(x, self.values)
        if isinstance(x, Body):
            return self.body(x) if x.symbols else x
        return tuple(map(self.number, x)) if type(x) is tuple else x

    def body(self, body: Body) -> Body:
        """A body for these sizes."""
        found = self._bodies.get(body)
        if found is None:
            found = self._bodies[body] = Body(type(self)(self.values).graph(body.graph))
        return found

    def type(self, t: TensorType) -> TensorType:
        """A type for these sizes."""
        return t.with_shape(map(self.number, t.shape)) if is_varying(t.shape) else t

    def graph(self, graph: Graph) -> Graph:
        """A graph for these sizes."""
        for node in (*graph.inputs, *topological(graph.outputs)):
            self.node(node)
        inputs, outputs = (tuple(map(self.nodes.__getitem__, part)) for part in (graph.inputs, graph.outputs))
        return Graph(inputs, outputs, graph.name)

    def node(self, node: Node) -> Node:
        """A node whose operands are known."""
        known = self.nodes.get(node)
        if known is None:
            inputs = tuple(map(self.nodes.__getitem__, node.inputs))
            params = tuple((k, self.number(v)) for k, v in node.params)
            known = replace(node, inputs=inputs, params=params, type=self.type(node.type))
            self.nodes[node] = known
        return known

    def kernel(self, kernel: Kernel) -> Kernel:
        """A kernel for these sizes."""
        return self._deep(kernel, {})  # type: ignore[no-any-return]

    def _deep(self, x: Any, done: dict[int, Any]) -> Any:
        if isinstance(x, (Extent, Ratio)):
            return self.number(x)
        if type(x) is tuple:
            parts = tuple(self._deep(v, done) for v in x)
            return x if all(a is b for a, b in zip(parts, x, strict=True)) else parts
        if not is_dataclass(x) or isinstance(x, (DType, Source)):
            return x
        if id(x) not in done:
            new = {f.name: self._deep(getattr(x, f.name), done) for f in fields(x)}
            done[id(x)] = x if all(new[k] is getattr(x, k) for k in new) else replace(x, **new)  # type: ignore[type-var]
        return done[id(x)]


class Settled(Resized):
    """Graphs for the present sizes, without formulas."""

    def number(self, x: Any) -> Any:
        """A parameter for the present sizes."""
        return settled(x)


class Plain(Resized):
    """Graphs for some sizes, without formulas."""

    def number(self, x: Any) -> Any:
        """A parameter for these sizes, without formulas."""
        return settled(super().number(x))


def settled(value: Any) -> Any:
    """A parameter without formulas: a number, a body, or a tuple of such."""
    if type(value) is tuple:
        return tuple(map(settled, value))
    if not isinstance(value, Body) or not value.symbols:
        return plain(value)
    if value.settled is None:
        value.settled = Body(Settled({}).graph(value.graph))
    return value.settled
