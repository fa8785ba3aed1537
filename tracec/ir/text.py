"""Graphs as text; `tracec.ir.parser` reads it back.

    graph   ::= graph NAME?(inputs) { node* return operands }
    input   ::= %N: type "name"?
    node    ::= %N: type = OPERATOR(operand, ..., param=value, ...)    # file.py:12 (origin)
    operand ::= %N | constant
    constant::= DTYPE(literal)                     with @device where that is not the device of its user
    type    ::= DTYPE[size,...]                    with @device where that is not the CPU
    literal ::= 1 | -0.5 | inf | nan | True | None | complex(0.0, 1.0)
    value   ::= literal | "text" | DTYPE | (value, ...) | graph

Constants have no line of their own: they stand where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.ir.dtype import DType
from tracec.ir.extent import Extent, Ratio
from tracec.ir.node import Node, is_constant
from tracec.ir.source import Source

if TYPE_CHECKING:
    from tracec.ir.graph import Graph

#: A header longer than this is broken into a line per input.
_WIDTH = 100
#: Comments start in one column, but behind lines that are longer than this.
_COLUMN = 120


def format_graph(graph: Graph) -> str:
    """The graph as text: inputs are %0, %1, …; nodes are numbered on in their order."""
    names = number(graph)
    lines = [*_header(graph, names), *body_lines(graph, names), "}"]
    return "\n".join(lines)


def number(graph: Graph) -> dict[Node, str]:
    """The name of each input and node in the text."""
    return {n: f"%{i}" for i, n in enumerate((*graph.inputs, *graph.nodes))}


def structure(graph: Graph) -> str:
    """The graph as text without source lines: the same for graphs of the same structure."""
    names = number(graph)
    rows = [f"  {names[n]}: {n.type} = {format_call(n, names, sources=False)}" for n in graph.nodes]
    outputs = ", ".join(format_operand(o, names, "cpu") for o in graph.outputs)
    inputs = ", ".join(f"{names[n]}: {n.type}" for n in graph.inputs)
    return "\n".join([f"graph({inputs}) {{", *rows, f"  return {outputs}".rstrip(), "}"])


def body_lines(graph: Graph, names: Mapping[Node, str]) -> list[str]:
    """A line for each node and one for the outputs, source comments aligned."""
    rows = [(f"  {names[n]}: {n.type} = {format_call(n, names)}", _comment(n)) for n in graph.nodes]
    outputs = ", ".join(format_operand(o, names, "cpu") for o in graph.outputs)
    return align_comments([*rows, (f"  return {outputs}".rstrip(), "")])


def align_comments(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Code and comment of each line joined, comments starting in one column as far as lines are not too long."""
    rows = list(rows)
    width = max((w for code, comment in rows if comment and (w := _width(code)) <= _COLUMN), default=0)
    return [f"{code}{' ' * (width - _width(code))}    # {comment}" if comment else code for code, comment in rows]


def _width(code: str) -> int:
    """Where the code ends in its last line."""
    return len(code) - code.rfind("\n") - 1


def _header(graph: Graph, names: Mapping[Node, str]) -> list[str]:
    name = "graph" if graph.name == "graph" else f"graph {_graph_name(graph.name)}"
    # An input that is listed twice keeps its last number; positions name both here.
    inputs = [f"%{i}: {n.type}{_input_name(n)}" for i, n in enumerate(graph.inputs)]
    line = f"{name}({', '.join(inputs)}) {{"
    if len(line) <= _WIDTH or not inputs:
        return [line]
    return [f"{name}(", *(f"  {i}," for i in inputs), ") {"]


def _graph_name(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else json.dumps(name)


def _input_name(node: Node) -> str:
    name = node.param("name")
    return f" {json.dumps(name)}" if name else ""


def format_call(node: Node, names: Mapping[Node, str], sources: bool = True) -> str:
    """``op(%0, f32(2.0), axis=1)``; ``sources`` says whether lines of graphs among the parameters have theirs."""
    operands = [format_operand(i, names, node.device) for i in node.inputs]
    params = [f"{key}={_format_param(value, sources)}" for key, value in node.params]
    return f"{node.op.name}({', '.join(operands + params)})"


def _format_param(value: Any, sources: bool) -> str:
    if not hasattr(value, "structure"):  # of a body, whose module imports this one
        return format_value(value)
    if sources:
        return format_graph(value.graph).replace("\n", "\n    ")
    return (structure(value.graph) if value.symbols else str(value.structure)).replace("\n", "\n    ")


def format_operand(node: Node, names: Mapping[Node, str], device: str) -> str:
    """A node's number, or the constant itself; ``device`` is where its user runs."""
    if is_constant(node):
        at = "" if node.device == device else f"@{node.device}"
        return f"{node.dtype.short}({format_value(node.param('value'))}){at}"
    # Only a graph that `verify` refuses has operands without a number.
    return names.get(node) or f"<unlisted {node.op.name}: {node.type}>"


def format_value(value: Any) -> str:
    """A parameter's value."""
    match value:
        case None | bool() | np.bool_():
            return str(value)
        case DType():
            return value.short
        case str():
            return json.dumps(value)
        case Extent() | Ratio():
            return str(value)
        case int() | np.integer():
            return str(int(value))
        case float() | np.floating():
            return repr(float(value))
        case complex() | np.complexfloating():
            return f"complex({format_value(value.real)}, {format_value(value.imag)})"
        case tuple() | list():
            inner = ", ".join(map(format_value, value))
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case _:
            return str(value)


def _comment(node: Node) -> str:
    return format_comment(node.source, node.origin)


def format_comment(source: Source | None, origin: str) -> str:
    """``file.py:12 (origin)``, as far as each is known."""
    return " ".join(filter(None, (str(source or ""), f"({origin})" if origin else "")))
