"""Checks of the invariants of graphs. A failure is a bug in tracec, never in the user's program."""

from __future__ import annotations

from typing import NoReturn

from tracec.errors import TracecError, VerifyError
from tracec.ir.body import Body
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, constant, is_constant, is_input
from tracec.ir.operator import OPERATORS
from tracec.ir.text import body_lines, format_graph, number

#: Lines shown before and after the one that breaks a rule.
_NEIGHBOURS = 2


def verify(graph: Graph) -> None:
    """Check a graph: every node has the type that its operator infers, and every operand is known; bodies too.

    Raises:
        VerifyError: names the node and the rule, and shows the node among its neighbours.
    """
    _verify_inputs(graph)
    listed = set(graph.inputs)
    for node in topological(graph.outputs):
        if is_input(node):
            if node not in listed:
                _fail(graph, _user(graph, node), "takes an input that the graph does not list")
        elif is_constant(node):
            _verify_constant(graph, node)
        else:
            _verify_node(graph, node)


def _verify_inputs(graph: Graph) -> None:
    for position, node in enumerate(graph.inputs):
        if not is_input(node):
            raise VerifyError(f"graph {graph.name}: input {position} is the result of {node.op.name}")
        if node in graph.inputs[:position]:
            first = graph.inputs.index(node)
            raise VerifyError(
                f"graph {graph.name}: inputs {first} and {position} are the same node",
                where=_indent([format_graph(graph).split("\n")[0]]),
            )


def _verify_constant(graph: Graph, node: Node) -> None:
    value = node.param("value")
    expected = constant(value, node.type).param("value")
    if node.shape != () or type(value) is not type(expected):
        user = _user(graph, node)
        _fail(graph, user, f"takes the constant {value!r} of type {node.type}, which is not a scalar of its dtype")


def _verify_node(graph: Graph, node: Node) -> None:
    op = node.op
    if OPERATORS.get(op.name) is not op:
        _fail(graph, node, "is not in the table of operators")
    names = [key for key, _ in node.params]
    declared = [key for key, _ in op.defaults]
    if names != declared:
        _fail(graph, node, f"has parameters ({', '.join(names)}), its operator declares ({', '.join(declared)})")
    if op.arity is not None and len(node.inputs) != op.arity:
        _fail(graph, node, f"takes {op.arity} operands, {len(node.inputs)} given")
    try:
        inferred = op.infer(tuple(i.type for i in node.inputs), node.params)
    except TracecError as error:
        _fail(graph, node, f"has operands that its type rule refuses: {error.message.removeprefix(op.name + ': ')}")
    for name, value in node.params:
        if isinstance(value, Body):
            _verify_body(graph, node, name, value)
    if inferred != node.type:
        _fail(graph, node, f"has type {node.type}, its type rule gives {inferred}")


def _verify_body(graph: Graph, node: Node, name: str, body: Body) -> None:
    try:
        verify(body.graph)
    except VerifyError as error:
        error.message = f"{name} of {number(graph)[node]} = {node.op.name}: {error.message}"
        raise


def _user(graph: Graph, node: Node) -> Node | None:
    """The first node that takes this one as an operand; None where it is an output only."""
    return next((n for n in graph.nodes if any(i is node for i in n.inputs)), None)


def _fail(graph: Graph, node: Node | None, rule: str) -> NoReturn:
    """Raise for a node (None: for the outputs), with the lines around it."""
    names = number(graph)
    lines = body_lines(graph, names)
    at = len(lines) - 1 if node is None else graph.nodes.index(node)
    subject = "return" if node is None else f"{names[node]} = {node.op.name}"
    first, last = max(at - _NEIGHBOURS, 0), min(at + _NEIGHBOURS + 1, len(lines))
    shown = [f"{'>' if i == at else ' '} {lines[i].removeprefix('  ')}" for i in range(first, last)]
    if first == 0:
        shown.insert(0, f"  {format_graph(graph).split(chr(10))[0]}")
    raise VerifyError(f"{subject} {rule}", where=_indent(shown), hint=_HINT)


_HINT = "the pass that made this node is at fault; TRACEC_VERIFY=1 names it"


def _indent(lines: list[str]) -> str:
    """Lines below each other in an error, which indents only the first."""
    return "\n  ".join(lines)
