"""Reverse mode: from a graph, the graph that also computes its vector-Jacobian products.

The gradient of an output with respect to an input is built backwards. Each output starts with a
cotangent of its own type. A node hands its cotangent to its rule, which gives one cotangent for each
operand; where a node has several users, what they hand back is added up. The result is nodes again, so
it can be differentiated, optimised and compiled like any others.

Gradients of complex values are PyTorch's: the direction of steepest ascent, which for a real function f of x + iy is
``df/dx + i df/dy``. Rules know nothing of this: each is the transpose of its jvp, where cotangent times tangent is
the real part of the plain product. A gradient is the conjugate of such a cotangent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracec import ops
from tracec.errors import ArgumentError, GradientError, ShapeError, VerifyError
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, constant, input_node, made_from
from tracec.ir.operator import NotDifferentiable
from tracec.ir.types import TensorType


def gradients(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
    """The sum over outputs of cotangent times derivative, with respect to each of some nodes.

    Args:
        outputs: What is differentiated; may repeat.
        cotangents: One for each output, of its type; None stands for zero.
        wrt: What to differentiate by: inputs, or nodes between. May contain outputs.

    Returns:
        One node for each of ``wrt``, of its type; None where no differentiable path leads to an output.

    Raises:
        GradientError: an operator on a path has no derivative.
        ShapeError: a cotangent is not of its output's type.
    """
    found = transposed(outputs, [None if c is None else conjugate(c) for c in cotangents], wrt)
    return [None if g is None else conjugate(g) for g in found]


def conjugate(x: Node) -> Node:
    """The complex conjugate; real nodes themselves, and what the conjugate of a conjugate was made of."""
    if not x.dtype.is_complex:
        return x
    return x.inputs[0] if x.op is ops.conj else ops.conj(x)


def transposed(outputs: Sequence[Node], cotangents: Sequence[Node | None], wrt: Sequence[Node]) -> list[Node | None]:
    """As `gradients`, of real and complex values alike the transpose: nothing is conjugated."""
    flow: dict[Node, Node] = {}
    order = topological(outputs)
    on_path = _on_path(order, wrt)
    for output, cotangent in zip(outputs, cotangents, strict=True):
        if cotangent is not None:
            _check_cotangent(output.type, cotangent.type)
            if output in on_path:
                _add_to(flow, output, cotangent)
    kept = set(wrt)
    for node in reversed(order):
        cotangent = flow.get(node)
        if cotangent is None or not any(i in on_path for i in node.inputs):
            continue
        if node not in kept:
            del flow[node]
        with made_from(node.source, f"vjp of {node.op.name}"):
            _pull_back(node, cotangent, on_path, flow)
    return [flow.get(w) for w in wrt]


def vjp(graph: Graph, wrt: Sequence[int] | None = None, seeds: Sequence[int] | None = None) -> Graph:
    """The graph that takes cotangents too, and gives gradients too.

    Args:
        graph: What to differentiate.
        wrt: Positions of the inputs to differentiate by; None means every floating or complex one.
        seeds: Positions of the outputs that get a cotangent; None means every floating or complex one.

    Returns:
        A graph with the inputs of ``graph`` followed by one cotangent for each of ``seeds``, and the
        outputs of ``graph`` followed by one gradient for each of ``wrt``. A gradient is zeros where the
        outputs do not depend on the input.

    Raises:
        GradientError: an operator on a path has no derivative, or an input or output named is not floating.
    """
    by = floating_positions(graph.inputs, wrt, "input")
    of = floating_positions(graph.outputs, seeds, "output")
    seeded = [graph.outputs[i] for i in of]
    cotangents = [input_node(o.type, f"ct{i}") for i, o in zip(of, seeded, strict=True)]
    by_nodes = [graph.inputs[i] for i in by]
    found = gradients(seeded, cotangents, by_nodes)
    grads = [zeros(w.type) if g is None else g for g, w in zip(found, by_nodes, strict=True)]
    return Graph((*graph.inputs, *cotangents), (*graph.outputs, *grads), f"vjp_{graph.name}")


def floating_positions(nodes: Sequence[Node], chosen: Sequence[int] | None, what: str) -> tuple[int, ...]:
    """The positions named, checked to be floating or complex; by default those of every such value."""
    if chosen is None:
        return tuple(i for i, n in enumerate(nodes) if n.dtype.is_differentiable)
    for i in chosen:
        if not 0 <= i < len(nodes):
            raise ArgumentError(f"vjp: there is no {what} {i}", hint=f"the graph has {len(nodes)} {what}s, from 0")
        if not nodes[i].dtype.is_differentiable:
            raise GradientError(
                f"vjp: {what} {i} of type {nodes[i].type} has no derivative",
                hint="only floating values are differentiated; cast it to float32 before",
            )
    return tuple(chosen)


def zeros(type_: TensorType) -> Node:
    """A zero of that type: an expanded constant."""
    with made_from(None, "zero gradient"):
        zero = constant(0.0, type_)
        return ops.expand(zero, shape=type_.shape) if type_.shape else zero


def _on_path(order: Sequence[Node], wrt: Iterable[Node]) -> set[Node]:
    """The nodes that depend on one of ``wrt`` through floating values, and ``wrt`` themselves."""
    found = {w for w in wrt if w.dtype.is_differentiable}
    for node in order:
        if node.dtype.is_differentiable and any(i in found for i in node.inputs):
            found.add(node)
    return found


def _add_to(flow: dict[Node, Node], node: Node, contribution: Node) -> None:
    before = flow.get(node)
    flow[node] = contribution if before is None else ops.add(before, contribution)


def _pull_back(node: Node, cotangent: Node, on_path: set[Node], flow: dict[Node, Node]) -> None:
    """Hand a node's cotangent to its operands."""
    rule = node.op.vjp
    if isinstance(rule, NotDifferentiable):
        raise no_rule(node, rule)
    contributions = rule(cotangent, node, *node.inputs, **dict(node.params))
    if len(contributions) != len(node.inputs):
        raise VerifyError(f"vjp of {node.op.name}: {len(contributions)} gradients for {len(node.inputs)} operands")
    for position, (operand, contribution) in enumerate(zip(node.inputs, contributions, strict=True)):
        if contribution is None or operand not in on_path:
            continue
        if isinstance(contribution, NotDifferentiable):
            raise no_rule(node, contribution)
        if contribution.type != operand.type:
            raise VerifyError(
                f"vjp of {node.op.name}: gradient of type {contribution.type} for operand {position} "
                f"of type {operand.type}"
            )
        _add_to(flow, operand, contribution)


def no_rule(node: Node, rule: NotDifferentiable) -> GradientError:
    """The error for an operator that stands on a path and has no derivative."""
    at = f"    at {node.source}" if node.source else ""
    return GradientError(
        f"{node.op.name}: has no derivative: {rule.reason}",
        where=f"{node.op.name}({', '.join(str(i.type) for i in node.inputs)}) -> {node.type}{at}",
        hint="detach() its operand where no gradient should flow through it",
    )


def _check_cotangent(output: TensorType, cotangent: TensorType) -> None:
    if output != cotangent:
        raise ShapeError(
            f"gradient: cotangent of type {cotangent} for an output of type {output}",
            hint="a cotangent has the shape, dtype and device of its output",
        )
