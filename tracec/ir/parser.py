"""Text to graphs and kernels; what they print as reads back to their equals."""

from __future__ import annotations

import difflib
from typing import Any

from tracec.errors import TracecError
from tracec.ir.body import Body
from tracec.ir.graph import Graph
from tracec.ir.kernel import Kernel
from tracec.ir.kernel_parser import parse_kernel
from tracec.ir.node import Node, constant, input_node
from tracec.ir.operator import OPERATORS, Operator
from tracec.ir.tokens import DTYPES, Tokens, parse_comment
from tracec.ir.types import TensorType


def parse(text: str) -> Graph | Kernel:
    """Read a graph or a kernel, as `parse_graph` and `tracec.ir.kernel_parser.parse_kernel` do.

    Raises:
        ParseError: the text is neither; names the line and what was expected there.
    """
    tokens = Tokens(text)
    if not tokens.at("graph", "kernel"):
        tokens.fail("'graph' or 'kernel'")
    result = _Parser(tokens).graph() if tokens.at("graph") else parse_kernel(tokens)
    if tokens.next.kind != "end":
        tokens.fail("the end of the text")
    return result


def parse_graph(text: str) -> Graph:
    """Read a graph from the text that `tracec.ir.text` describes.

    A node may leave its type out, which is then inferred, and parameters that have defaults. A type that
    is given is taken as it is: `tracec.ir.verify` checks it.

    Raises:
        ParseError: the text is no graph.
    """
    tokens = Tokens(text)
    if not tokens.at("graph"):
        tokens.fail("'graph'")
    graph = parse(text)
    assert isinstance(graph, Graph)
    return graph


class _Parser:
    """Reads one graph; knows the nodes read so far."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.nodes: dict[int, Node] = {}

    def graph(self) -> Graph:
        t = self.tokens
        t.expect("graph")
        name = "graph"
        if t.next.kind == "text":
            name = t.string()
        elif t.next.kind == "name":
            name = t.take("name", "a name").text
        inputs = self.inputs()
        t.expect("{")
        while t.at("%"):
            self.node()
        if not t.accept("return"):
            t.fail("a node (%N: type = operator(...)) or 'return'")
        outputs: list[Node] = []
        while not t.at("}"):
            outputs.append(self.operand("cpu"))
            if not t.at("}"):
                t.expect(",")
        t.expect("}")
        return Graph(inputs, tuple(outputs), name)

    def inputs(self) -> tuple[Node, ...]:
        t = self.tokens
        t.expect("(")
        inputs: list[Node] = []
        while not t.accept(")"):
            number = self.new_number()
            t.expect(":")
            type_ = t.type()
            node = self.nodes[number] = input_node(type_, t.string() if t.next.kind == "text" else "")
            inputs.append(node)
            if not t.at(")"):
                t.expect(",")
        return tuple(inputs)

    def new_number(self) -> int:
        line = self.tokens.next.line
        number = self.number()
        if number in self.nodes:
            self.tokens.reject(f"%{number} is defined twice", line)
        return number

    def number(self) -> int:
        self.tokens.expect("%")
        return self.tokens.integer("a node's number")

    def node(self) -> None:
        t = self.tokens
        number = self.new_number()
        type_ = t.type() if t.accept(":") else None
        t.expect("=")
        line = t.next.line
        op = self.operator()
        inputs, params = self.arguments(type_)
        source, origin = parse_comment(t.comments.get(t.expect(")").line, ""))
        try:
            bound = op.bind(params)
            type_ = type_ or op.infer(tuple(i.type for i in inputs), bound)
        except TracecError as error:
            t.reject(error.message, line, error.hint)
        self.nodes[number] = Node(op, inputs, bound, type_, source, origin)

    def operator(self) -> Operator:
        token = self.tokens.next
        if token.kind != "name":
            self.tokens.fail("an operator's name")
        op: Operator | None = OPERATORS.get(token.text)
        if op is None:
            close = difflib.get_close_matches(token.text, OPERATORS, 3)
            hint = f"operators of that name: {', '.join(close)}" if close else None
            self.tokens.reject(f"there is no operator {token.text!r}", token.line, hint)
        self.tokens.take("name", "an operator's name")
        return op

    def arguments(self, type_: TensorType | None) -> tuple[tuple[Node, ...], dict[str, Any]]:
        """Operands and parameters, up to the closing parenthesis."""
        t = self.tokens
        t.expect("(")
        device = type_.device if type_ else self.device_ahead()
        inputs: list[Node] = []
        params: dict[str, Any] = {}
        while not t.at(")"):
            if t.next.kind == "name" and t.after().text == "=":
                key = t.take("name", "a parameter").text
                t.expect("=")
                params[key] = self.value()
            else:
                inputs.append(self.operand(device))
            if not t.at(")"):
                t.expect(",")
        return tuple(inputs), params

    def device_ahead(self) -> str:
        """The device of the next numbered operand, on which constants beside it live."""
        t = self.tokens
        distance = 0
        while t.after(distance).text not in (")", "}") and t.after(distance).kind != "end":
            if t.after(distance).text == "%" and (node := self.nodes.get(int(t.after(distance + 1).text))):
                return node.device
            distance += 1
        return "cpu"

    def operand(self, device: str) -> Node:
        t = self.tokens
        if t.at("%"):
            line = t.next.line
            number = self.number()
            if number not in self.nodes:
                t.reject(f"%{number} is used before it is defined", line)
            return self.nodes[number]
        if t.next.text not in DTYPES:
            t.fail("an operand: %N or a constant such as f32(2.0)")
        dtype = t.dtype()
        t.expect("(")
        value = t.literal()
        t.expect(")")
        return constant(value, TensorType(dtype, (), t.device(device)))

    def value(self) -> Any:
        """A parameter's value."""
        t = self.tokens
        if t.next.kind == "text":
            return t.string()
        if t.next.text in DTYPES:
            return t.dtype()
        if t.at("graph"):
            return Body(_Parser(t).graph())
        if not t.accept("("):
            return t.literal()
        values: list[Any] = []
        while not t.accept(")"):
            values.append(self.value())
            if not t.at(")"):
                t.expect(",")
        return tuple(values)
