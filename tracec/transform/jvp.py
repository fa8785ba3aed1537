"""Forward mode: from a graph, the graph that also computes Jacobian-vector products."""

from __future__ import annotations

from collections.abc import Sequence

from tracec import ops
from tracec.errors import VerifyError
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.operator import NotDifferentiable
from tracec.transform.vjp import floating_positions, no_rule, transposed, zeros


def tangents(outputs: Sequence[Node], wrt: Sequence[Node], directions: Sequence[Node]) -> list[Node | None]:
    """How outputs change as some nodes move.

    Args:
        outputs: What is differentiated.
        wrt: What moves: inputs, or nodes between.
        directions: How each of ``wrt`` moves; of its type.

    Returns:
        One node for each output, of its type; None where it does not move.

    Raises:
        GradientError: an operator on a path has no derivative.
    """
    moves: dict[Node, Node] = dict(zip(wrt, directions, strict=True))
    for node in topological(outputs):
        if node in moves or not node.dtype.is_differentiable or not any(i in moves for i in node.inputs):
            continue
        with made_from(node.source, f"jvp of {node.op.name}"):
            moved = _push_forward(node, [moves.get(i) for i in node.inputs])
        if moved is not None:
            moves[node] = moved
    return [moves.get(o) for o in outputs]


def jvp(graph: Graph, wrt: Sequence[int] | None = None) -> Graph:
    """The graph that takes tangents too, and gives tangents too.

    Args:
        graph: What to differentiate.
        wrt: Positions of the inputs that move; None means every floating one.

    Returns:
        A graph with the inputs of ``graph`` followed by one tangent for each of ``wrt``, and the outputs of
        ``graph`` followed by one tangent for each floating output, in order; zeros where it does not move.

    Raises:
        GradientError: an operator on a path has no derivative, or an input named is not floating.
    """
    by = [graph.inputs[i] for i in floating_positions(graph.inputs, wrt, "input")]
    directions = [input_node(w.type, f"t{i}") for i, w in enumerate(by)]
    floating = [o for o in graph.outputs if o.dtype.is_differentiable]
    found = tangents(floating, by, directions)
    moved = [zeros(o.type) if t is None else t for t, o in zip(found, floating, strict=True)]
    return Graph((*graph.inputs, *directions), (*graph.outputs, *moved), f"jvp_{graph.name}")


def _push_forward(node: Node, moved: list[Node | None]) -> Node | None:
    """The tangent of a node, given those of its operands."""
    rule, params = node.op.jvp, dict(node.params)
    if isinstance(rule, NotDifferentiable):
        raise no_rule(node, rule)
    if rule is None and isinstance(node.op.vjp, NotDifferentiable):
        raise no_rule(node, node.op.vjp)
    result: Node | None
    if rule is None:
        result = _transposed_vjp(node, moved)
    else:
        result = rule(tuple(moved), node, *node.inputs, **params)
    if result is not None and result.type != node.type:
        if result.dtype is not node.dtype or result.ndim > node.ndim:
            raise VerifyError(f"jvp of {node.op.name}: tangent of type {result.type} for a result of type {node.type}")
        # A tangent of one operand alone may lack axes that broadcasting gives the result.
        result = ops.expand(result, shape=node.shape)
    return result


def _transposed_vjp(node: Node, moved: list[Node | None]) -> Node | None:
    """A vjp is linear in its cotangent, ct ↦ ct·J. Its own vjp at a tangent is t ↦ J·t, the jvp."""
    assert not isinstance(node.op.vjp, NotDifferentiable)
    cotangent = input_node(node.type, "ct")
    pulled = node.op.vjp(cotangent, node, *node.inputs, **dict(node.params))
    pairs = [(p, t) for p, t in zip(pulled, moved, strict=True) if p is not None and t is not None]
    if not pairs:
        return None
    return transposed([p for p, _ in pairs], [t for _, t in pairs], [cotangent])[0]
