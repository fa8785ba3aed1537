"""Concatenations without copies: the kernel that computes the parts stores each at its place in the result.

The gradient of what was taken apart is a sum of parts that zeros were put around, each part alone at its places: such
a sum is a concatenation, too.
"""

from __future__ import annotations

from math import prod

from tracec.ir import index as ix
from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.lower import ContractionSpec, Elementwise, Index, Library
from tracec.ir.node import Node, constant, is_constant, made_from
from tracec.ir.operator import OPERATORS
from tracec.ir.types import Shape

#: Elements of a part that lie next to each other, at least: they are stored in packs, and by lanes side by side.
LEAST_RUN = 16
#: Parts that one kernel computes, at most.
MOST_PARTS = 16


def side_by_side(node: Node) -> bool:
    """Whether a node is a concatenation of computed parts that are alike, and long enough along its axis."""
    if node.op.name != "concatenate" or not 2 <= len(node.inputs) <= MOST_PARTS:
        return False
    first = node.inputs[0]
    return _is_long(first.shape, node.param("axis")) and all(
        x.shape == first.shape and isinstance(x.op.lower, Elementwise) and not is_constant(x) for x in node.inputs
    )


def _is_long(part: Shape, axis: int) -> bool:
    return not is_varying(part) and prod(part[axis:]) >= LEAST_RUN and prod(part) > 0


def is_apart(reader: Node) -> bool:
    """Whether a reader takes what it reads from memory, each element several times or all by a library."""
    return isinstance(reader.op.lower, (ContractionSpec, Library))


def points(node: Node) -> Shape:
    """The shape over which a kernel computes a node: of parts side by side that of one."""
    return node.inputs[0].shape if side_by_side(node) else node.shape


def place_of(node: Node, part: int, index: Index) -> Index:
    """Where the element of a part lies in the whole."""
    axis, size = node.param("axis"), node.inputs[0].shape[node.param("axis")]
    return (*index[:axis], ix.add(index[axis], part * size), *index[axis + 1 :])


def join_parts(graph: Graph) -> Graph:
    """Sums of parts that zeros were put around as concatenations, where products read them, or nobody here does."""
    users, outputs = graph.users(), set(graph.outputs)
    wanted = {
        n for n in graph.nodes if n.op.name == "add" and all(map(is_apart, users[n])) and (users[n] or n in outputs)
    }
    found = {n: joined for n in wanted if (joined := _parts(n)) is not None}
    if not found:
        return graph
    new: dict[Node, Node] = {}
    for node in graph.nodes:
        if node in found:
            axis, parts = found[node]
            with made_from(node.source, "parts side by side"):
                new[node] = OPERATORS["concatenate"](*(_plus_zero(new.get(p, p)) for p in parts), axis=axis)
        else:
            new[node] = node.with_inputs(tuple(new.get(i, i) for i in node.inputs))
    return graph.with_outputs(tuple(new.get(o, o) for o in graph.outputs))


def _parts(node: Node) -> tuple[int, list[Node]] | None:
    """The axis along which a sum's terms lie side by side, and what zeros were put around; None where they do not."""
    terms = _terms(node)
    if not 2 <= len(terms) <= MOST_PARTS or any(t.op.name != "pad" or t.param("value") != 0 for t in terms):
        return None
    axes = {a for t in terms for a, n in enumerate(zip(t.param("low"), t.param("high"), strict=True)) if n != (0, 0)}
    if len(axes) != 1 or node.dtype.kind not in "fiu":
        return None
    (axis,) = axes
    terms.sort(key=lambda t: t.param("low")[axis])
    part = terms[0].inputs[0].shape
    if not _is_long(part, axis) or len(terms) * part[axis] != node.shape[axis]:
        return None
    alike = all(
        t.inputs[0].shape == part and t.param("low")[axis] == k * part[axis] and not is_constant(t.inputs[0])
        for k, t in enumerate(terms)
    )
    return (axis, [t.inputs[0] for t in terms]) if alike else None


def _terms(node: Node) -> list[Node]:
    found: list[Node] = []
    stack = [node]
    while stack and len(found) <= MOST_PARTS:
        n = stack.pop()
        if n.op.name == "add" and n.shape == node.shape:
            stack.extend(n.inputs)
        else:
            found.append(n)
    return found


def _plus_zero(x: Node) -> Node:
    """What adding zeros leaves of x: of -0.0 it makes 0.0."""
    result: Node = OPERATORS["add"](x, constant(0.0 if x.dtype.kind == "f" else 0, x.type.with_shape(())))
    return result
