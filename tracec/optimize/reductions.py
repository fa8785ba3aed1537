"""Rules over reductions. Float sums may be reassociated: the order of a sum is not part of its meaning."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.ir.node import Node, constant
from tracec.ir.operator import OPERATORS
from tracec.ir.rewrite import X, applied, named, rule
from tracec.ir.types import Shape, broadcast_axes, numel

#: Integers up to these have a value of their own in the 16-bit floats.
_EXACT = {"f16": 2048, "bf16": 256}


@rule(*map(applied, ("sum", "prod", "max", "min")))
def reduce_single_elements(node: Node) -> Any:
    """Over axes of size 1, or none, nothing is combined."""
    x = node.inputs[0]
    if any(x.shape[axis] != 1 for axis in node.param("axes")):
        return None
    moved = x if x.shape == node.shape else ops.reshape(x, shape=node.shape)
    return moved if moved.dtype is node.dtype else ops.cast(moved, dtype=node.dtype)


@rule(*(OPERATORS[op](named("inner", applied(op))) for op in ("sum", "prod", "max", "min")))
def reduce_twice(inner: Node, node: Node) -> Any:
    """At once over the axes of both."""
    x = inner.inputs[0]
    if inner.dtype is not x.dtype and inner.dtype is not node.dtype:
        return None
    first = inner.param("axes")
    left = list(range(x.ndim)) if inner.param("keepdims") else [a for a in range(x.ndim) if a not in first]
    axes = tuple(sorted({*first, *(left[a] for a in node.param("axes"))}))
    reduced = node.op(x, axes=axes, keepdims=False)
    return reduced if reduced.shape == node.shape else ops.reshape(reduced, shape=node.shape)


@rule(*(OPERATORS[op](named("inner", ops.expand(X))) for op in ("sum", "max", "min")))
def reduce_expanded(x: Node, inner: Node, node: Node) -> Any:
    """Equal elements: their sum is a multiple, their extremum is each of them."""
    added, stretched = broadcast_axes(x.shape, inner.shape)
    axes = node.param("axes")
    equal = [a for a in (*added, *stretched) if a in axes]
    count = numel(inner.shape[a] for a in equal)
    if not equal or count == 0 or count > _EXACT.get(node.dtype.short, 2**24):
        return None
    # The axes that are left to reduce, counted in x.
    lead = len(added)
    rest = tuple(a - lead for a in axes if a not in equal)
    reduced = node.op(x, axes=rest, keepdims=True) if rest else x
    if reduced.dtype is not node.dtype:
        reduced = ops.cast(reduced, dtype=node.dtype)
    if node.op.name == "sum":
        reduced = ops.mul(reduced, constant(count, node.type))
    return _placed(reduced, axes, inner.shape, node.shape, added)


def _placed(x: Node, axes: Shape, whole: Shape, shape: Shape, added: Shape) -> Any:
    """x, whose reduced axes have size 1, in the shape of the result; kept axes that were expanded still are."""
    full = (1,) * len(added) + x.shape
    kept = tuple(size for axis, size in enumerate(full) if axis not in axes)
    if numel(kept) == numel(shape):
        return x if x.shape == shape else ops.reshape(x, shape=shape)
    keepdims = len(shape) == len(whole)
    small = tuple(1 if a in axes else s for a, s in enumerate(full)) if keepdims else kept
    x = x if x.shape == small else ops.reshape(x, shape=small)
    return ops.expand(x, shape=shape)


RULES = (reduce_single_elements, reduce_twice, reduce_expanded)
