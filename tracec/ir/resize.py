"""Graphs for other sizes: those with formulas in place of sizes, of which each gives a number."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from tracec.ir.body import Body
from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio, Values, at, plain
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node
from tracec.ir.source import Source
from tracec.ir.types import TensorType

if TYPE_CHECKING:
    from tracec.ir.kernel import Kernel


#: Types of parameters that depend on no sizes.
_FIXED = frozenset({int, float, bool, str, type(None), DType})


class Resized:
    """Graphs for some sizes.

    Args:
        values: The sizes.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        self.nodes: dict[Node, Node] = {}
        self._bodies: dict[Body, Body] = {}
        #: Most formulas occur many times.
        self._numbers: dict[Any, Any] = {}

    def number(self, x: Any) -> Any:
        """A parameter for these sizes: the same object where it does not depend on them."""
        cls = type(x)
        if cls is tuple:
            parts = [self.number(v) for v in x]
            return x if _same(parts, x) else tuple(parts)
        if cls in _FIXED:
            return x
        if isinstance(x, (Extent, Ratio)):
            key = cls, x.form if isinstance(x, Extent) else x.tree
            found = self._numbers.get(key)
            if found is None:
                found = self._numbers[key] = self.size(x)
            return found
        if isinstance(x, Body):
            return self.body(x) if x.symbols else x
        return x

    def size(self, x: Any) -> Any:
        """A number with a formula for these sizes."""
        return at(x, self.values)

    def body(self, body: Body) -> Body:
        """A body for these sizes."""
        found = self._bodies.get(body)
        if found is None:
            found = self._bodies[body] = Body(type(self)(self.values).graph(body.graph))
        return found

    def type(self, t: TensorType) -> TensorType:
        """A type for these sizes."""
        shape = self.number(t.shape)
        return t if shape is t.shape else TensorType(t.dtype, shape, t.device)

    def graph(self, graph: Graph) -> Graph:
        """A graph for these sizes; the same one where it does not depend on them."""
        for node in (*graph.inputs, *topological(graph.outputs)):
            self.node(node)
        inputs, outputs = ([self.nodes[n] for n in part] for part in (graph.inputs, graph.outputs))
        if _same(inputs, graph.inputs) and _same(outputs, graph.outputs):
            return graph
        return Graph(tuple(inputs), tuple(outputs), graph.name)

    def node(self, node: Node) -> Node:
        """A node whose operands are known; the same one where it does not depend on sizes."""
        known = self.nodes.get(node)
        if known is None:
            inputs, params = [self.nodes[n] for n in node.inputs], node.params
            values = [self.number(v) for _, v in params]
            if not _same(values, [v for _, v in params]):
                params = tuple([(k, v) for (k, _), v in zip(params, values, strict=True)])
            type_ = self.type(node.type)
            if params is node.params and type_ is node.type and _same(inputs, node.inputs):
                known = node
            else:
                known = Node(node.op, tuple(inputs), params, type_, node.source, node.origin)
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

    def size(self, x: Any) -> Any:
        """A number with a formula for these sizes, without it."""
        return plain(super().size(x))

    def body(self, body: Body) -> Body:
        """A body for these sizes, without formulas."""
        return settled(super().body(body))  # type: ignore[no-any-return]


def _same(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether these are the very same objects."""
    return all(map(operator.is_, one, other))


def settled(value: Any) -> Any:
    """A parameter without formulas: a number, a body, or a tuple of such."""
    if type(value) is tuple:
        return tuple(map(settled, value))
    if not isinstance(value, Body) or not value.symbols:
        return plain(value)
    if value.settled is None:
        value.settled = Body(Settled({}).graph(value.graph))
    return value.settled
