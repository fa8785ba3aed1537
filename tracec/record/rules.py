"""Runs a derived graph (a pullback, say) through the operators, so that it is differentiated and recorded in turn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tracec.ir import node as nodes
from tracec.ir.node import Node
from tracec.ir.operator import OPERATORS
from tracec.ir.source import Source
from tracec.ir.types import TensorType
from tracec.record.backend import module
from tracec.record.call import Call
from tracec.record.cell import Cell, new_tensor
from tracec.record.derived import Derived
from tracec.record.dispatch import apply
from tracec.record.state import STATE


def compute(rule: Derived, values: Iterable[Any], source: Source | None) -> list[Any]:
    """The outputs of a derived graph as tensors, computed through the operators.

    Args:
        rule: The graph.
        values: A tensor for each of its inputs.
        source: The user's line that the operations are made from.
    """
    known = [*values, *map(_constant, rule.constants)]
    for op, at, keywords, node in rule.program:
        with nodes.made_from(source, node.origin):
            known.append(apply(op, tuple([known[i] for i in at]), keywords))
    return [known[i] for i in rule.outputs]


def calls_of(rule: Derived) -> list[tuple[Call, tuple[int, ...], tuple[int, ...]]]:
    """The nodes of a derived graph: each with the positions of its operands, and which of them are constants."""
    found: list[tuple[Call, tuple[int, ...], tuple[int, ...]]] | None = rule.calls
    if found is None:
        first = len(rule.graph.inputs)
        constants = range(first, first + len(rule.constants))
        found = rule.calls = [
            (
                Call(n.op, n.params, tuple(i.type for i in n.inputs), n.type),
                at,
                tuple(k for k, i in enumerate(at) if i in constants),
            )
            for _, at, _, n in rule.program
        ]
    return found


def operands(call: Call, inputs: tuple[Any, ...]) -> list[Any]:
    """The operands as tensors: Python scalars become tensors of no dimensions."""
    return [x if isinstance(x, Cell) else _number(x, t) for x, t in zip(inputs, call.types, strict=True)]


def _number(x: Any, type_: TensorType) -> Any:
    parameters = {"value": x, "dtype": type_.dtype, "device": type_.device}
    return apply(OPERATORS["constant"], (), parameters)


def _constant(node: Node) -> Any:
    made = new_tensor(module(node.device).asarray(node.param("value"), node.dtype.numpy))
    made._is_constant = True
    if STATE.recorder is not None:
        STATE.recorder.hold(made, node)
    return made
