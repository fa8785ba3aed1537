"""Constant folding."""

from __future__ import annotations

from typing import Any

import numpy as np

from tracec import ops
from tracec.ir.extent import is_varying
from tracec.ir.graph import Graph
from tracec.ir.node import Node, constant, is_constant, made_from
from tracec.ir.rewrite import origin_after
from tracec.ir.types import numel

#: Arrays up to this many elements are computed, to see whether all of their elements are the same.
_SMALL = 64

_SAME_VALUE = frozenset({"expand", "reshape", "transpose", "slice", "flip", "max", "min"})


def fold(graph: Graph) -> Graph:
    """Compute nodes whose operands are known, where one scalar tells the result: a constant, or one expanded."""
    known: dict[Node, np.ndarray[Any, Any]] = {}

    def compute(node: Node) -> Node:
        value = _value(node, known)
        if value is None:
            return node
        known[node] = value
        if node.type.size == 0 or is_constant(node) or _is_full(node) or not _uniform(value):
            return node
        with made_from(node.source, origin_after(node.origin, "fold")):
            result = full(node, value.reshape(-1)[0].item())
        known[result] = value
        return result

    return graph.map(compute)


def full(like: Node, value: bool | int | float | complex) -> Node:
    """A node of the same type whose elements are all that value."""
    scalar = constant(value, like.type)
    return scalar if like.shape == () else ops.expand(scalar, shape=like.shape)


def _is_full(node: Node) -> bool:
    return node.op.name == "expand" and is_constant(node.inputs[0])


def _uniform(value: np.ndarray[Any, Any]) -> bool:
    """Whether all elements have the same bits (0.0 is not -0.0; a nan is itself)."""
    rows = np.ascontiguousarray(value).reshape(-1).view(np.uint8).reshape(value.size, -1)
    return bool((rows == rows[0]).all())


def _value(node: Node, known: dict[Node, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
    """The node's elements, where they are known; one element (of shape ``(1,)``·ndim) stands for equal ones."""
    if is_constant(node):
        given = node.param("value")
        return None if is_varying(given) else np.asarray(given, node.dtype.numpy)
    if any(i not in known for i in node.inputs) or not (node.inputs or node.op.name == "iota"):
        return None
    values = [known[i] for i in node.inputs]
    fixed = not is_varying((node.params, node.shape, *(i.shape for i in node.inputs)))
    exact = fixed and all(v.shape == i.shape for v, i in zip(values, node.inputs, strict=True))
    if exact and node.type.size <= _SMALL:
        return _run(node, values)
    if any(v.size != 1 for v in values):
        return None
    return _uniform_value(node, [v.reshape(()) for v in values])


def _uniform_value(node: Node, values: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
    """One element for all, where every operand's elements are equal."""
    if node.op.family == "elementwise":
        result = _run(node, values)
    elif node.op.name in _SAME_VALUE and node.inputs[0].type.size:
        result = values[0]
    elif node.op.name == "sum":
        count = numel(node.inputs[0].shape[a] for a in node.param("axes"))
        if is_varying(count):
            return None
        with np.errstate(all="ignore"):
            wide = {"f": np.float64, "c": np.complex128}.get(node.dtype.kind, np.int64)
            result = (values[0].astype(wide) * count).astype(node.dtype.numpy)
    else:
        return None
    return None if result is None else result.reshape((1,) * node.ndim)


def _run(node: Node, values: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any] | None:
    """The operator's eager rule, quietly; None where it fails, which is then the run's error to tell."""
    try:
        with np.errstate(all="ignore"):
            result = np.asarray(node.op.eager(np, *values, **dict(node.params)))
    except (ArithmeticError, ValueError):
        return None
    return result if result.dtype == node.dtype.numpy else None
