"""Pullback, pushforward and batched form of an operator application: graphs derived once for its operands' types.

They are kept in linear form, and run either on arrays or, where what they do is itself remembered, recorded, batched or
differentiated, through the operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tracec.errors import GradientError
from tracec.ir.graph import Graph, topological
from tracec.ir.node import Node, input_node, made_from
from tracec.ir.operator import Operator
from tracec.ir.source import Source
from tracec.ops.arrays import SILENT, ready
from tracec.transform.jvp import tangents
from tracec.transform.vjp import gradients

if TYPE_CHECKING:
    from tracec.record.call import Call


class Derived:
    """A graph in linear form.

    Attributes:
        graph: The graph.
        constants: Its constants.
        program: Its nodes as (operator, positions of operands, keywords, node): the values are the graph's inputs,
            then its constants, then the nodes' results.
        outputs: Positions of the outputs among the values.
        calls: The nodes as calls, where they were asked for; see `tracec.record.deferred`.
        rules: The nodes as functions of arrays with the positions of their operands, where they were asked for; see
            `compute`.
        numbers: The constants as NumPy's arrays, which are only read.
    """

    __slots__ = ("calls", "constants", "graph", "numbers", "outputs", "program", "rules")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.calls: Any = None
        self.rules: list[tuple[Callable[..., Any], tuple[int, ...]]] | None = None
        self.numbers: list[Any] = []
        at: dict[Node, int] = {n: i for i, n in enumerate(graph.inputs)}
        self.constants = tuple(n for n in topological(graph.outputs) if n.op.name == "constant")
        for n in (*self.constants, *graph.nodes):
            at[n] = len(at)
        self.program = tuple((n.op, tuple(at[i] for i in n.inputs), dict(n.params), n) for n in graph.nodes)
        self.outputs = tuple(at[o] for o in graph.outputs)

    def compute(self, xp: Any, values: list[Any]) -> list[Any]:
        """The outputs as arrays.

        Args:
            xp: NumPy or CuPy.
            values: Arrays for the graph's inputs and its constants; receives the nodes' results.
        """
        if self.rules is None:
            self.rules = [(_ready(op, xp, n, keywords), at) for op, at, keywords, n in self.program]
        SILENT.copy().run(_results, self.rules, values, xp.ndarray, xp.asarray)
        return [values[i] for i in self.outputs]

    def constant_arrays(self) -> list[Any]:
        """`numbers`."""
        if len(self.numbers) != len(self.constants):
            self.numbers = SILENT.copy().run(_arrays, self.constants)
        return self.numbers


def _arrays(constants: Sequence[Node]) -> list[Any]:
    return [np.asarray(n.param("value"), n.dtype.numpy) for n in constants]


def _ready(op: Operator, xp: Any, node: Node, keywords: dict[str, Any]) -> Callable[..., Any]:
    first = node.inputs[0].dtype.numpy if node.inputs else None
    return ready(op.eager, xp, first, keywords)


def _results(rules: Sequence[Any], values: list[Any], kind: type, made: Callable[[Any], Any]) -> None:
    for rule, at in rules:
        out = rule(*map(values.__getitem__, at))
        values.append(out if isinstance(out, kind) else made(out))


class Pullback(Derived):
    """The gradients of one call.

    Its graph goes from the values that `needs` names and, last, the result's cotangent, to the gradients of the
    operands in the mask, in order, leaving out those that are zero.

    Attributes:
        needs: Positions of the values to save: of operands, and the number of operands for the result.
        gives: For each operand the graph's output that is its gradient, or None.
        error: Why there is no gradient; raised when it is asked for.
        run: A compiled program from the saved values and the cotangent to the outputs, where there is one.
        steps: The same as functions of NumPy's arrays, where it was asked for; see `tracec.record.steps`.
    """

    __slots__ = ("error", "gives", "needs", "run", "steps")

    def __init__(self, call: Call, mask: tuple[bool, ...]) -> None:
        self.error: GradientError | None = None
        self.run: Callable[[list[Any]], list[Any]] | None = None
        self.steps: Any = None
        inputs, out, result = _applied(call)
        cotangent = input_node(call.type, "ct")
        try:
            found = gradients([out], [cotangent], [x for x, wanted in zip(inputs, mask, strict=True) if wanted])
        except GradientError as error:
            self.error, found = error, [None] * sum(mask)
        grads = iter(found)
        outputs: list[Node] = []
        gives: list[int | None] = []
        for wanted in mask:
            g = next(grads) if wanted else None
            gives.append(None if g is None else len(outputs))
            if g is not None:
                outputs.append(g)
        self.gives = tuple(gives)
        cut = _replace(outputs, out, result)
        used = set(topological(cut))
        values = [*inputs, result]
        self.needs = tuple(i for i, v in enumerate(values) if v in used)
        super().__init__(Graph((*(values[i] for i in self.needs), cotangent), tuple(cut), f"vjp_{call.op.name}"))


class ProgramPullback(Pullback):
    """The gradients of a compiled function, as a program.

    Args:
        needs: Numbers of the saved values.
        gives: For each operand the program's output that is its gradient, or None.
        run: From the saved values and, last, the cotangent, to the gradients.
        through: Name and source of the operation that errors are to name.
    """

    __slots__ = ("through",)

    def __init__(
        self, needs: tuple[int, ...], gives: tuple[int | None, ...], run: Callable[[list[Any]], list[Any]],
        through: tuple[str, Source | None],
    ) -> None:  # fmt: skip
        self.through = through
        self.error, self.needs, self.gives, self.run = None, needs, gives, run


class Pushforward(Derived):
    """The tangent of one call: from the operands, the result and the tangents of the operands in the mask.

    There is no output where the result does not move.

    Raises:
        GradientError: the operator has no derivative.
    """

    __slots__ = ()

    def __init__(self, call: Call, mask: tuple[bool, ...]) -> None:
        inputs, out, result = _applied(call)
        moving = [x for x, moves in zip(inputs, mask, strict=True) if moves]
        directions = [input_node(x.type, f"t{i}") for i, x in enumerate(moving)]
        found = tangents([out], moving, directions)[0]
        outputs = _replace([] if found is None else [found], out, result)
        super().__init__(Graph((*inputs, result, *directions), tuple(outputs), f"jvp_{call.op.name}"))


class Batched(Derived):
    """Many applications of one call: operands that differ carry them along axis 0, and so does the result."""

    __slots__ = ()

    def __init__(self, call: Call, which: tuple[bool, ...], size: int) -> None:
        inputs = [
            input_node(t.with_shape((size, *t.shape)) if many else t, f"x{i}")
            for i, (t, many) in enumerate(zip(call.types, which, strict=True))
        ]
        with made_from(None, f"vmap of {call.op.name}"):
            out = call.op.batch(tuple(inputs), which, size, **call.keywords)
        super().__init__(Graph(tuple(inputs), (out,), f"vmap_{call.op.name}"))


def _applied(call: Call) -> tuple[list[Node], Node, Node]:
    """The operands, the result, and what stands for the result where its value is given and not computed again."""
    inputs = [input_node(t, f"x{i}") for i, t in enumerate(call.types)]
    return inputs, Node(call.op, tuple(inputs), call.params, call.type), input_node(call.type, "out")


def _replace(outputs: Sequence[Node], old: Node, new: Node) -> list[Node]:
    made: dict[Node, Node] = {old: new}
    for node in topological(outputs):
        if node not in made:
            made[node] = node.with_inputs(tuple(made[i] for i in node.inputs))
    return [made[o] for o in outputs]
