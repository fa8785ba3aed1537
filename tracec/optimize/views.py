"""Rules over operators that move elements without changing them."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.ir.node import Node
from tracec.ir.rewrite import X, applied, named, rule
from tracec.ir.types import Shape


@rule(ops.reshape(X), ops.expand(X))
def same_shape(x: Node, node: Node) -> Node | None:
    return x if x.shape == node.shape else None


@rule(ops.reshape(ops.reshape(X)))
def reshape_twice(x: Node, node: Node) -> Any:
    return ops.reshape(x, shape=node.shape)


@rule(ops.expand(ops.expand(X)))
def expand_twice(x: Node, node: Node) -> Any:
    return ops.expand(x, shape=node.shape)


@rule(ops.expand(named("inner", ops.reshape(X))))
def expand_adds_leading_ones(x: Node, inner: Node, node: Node) -> Any:
    """An expand puts ones in front by itself."""
    lead = inner.ndim - x.ndim
    if lead <= 0 or inner.shape != (1,) * lead + x.shape:
        return None
    return ops.expand(x, shape=node.shape)


@rule(ops.transpose(X))
def transpose_moves_no_element(x: Node, node: Node) -> Any:
    """Axes of size 1 may go anywhere."""
    moved = [axis for axis in node.param("perm") if x.shape[axis] != 1]
    if moved != sorted(moved):
        return None
    return x if x.shape == node.shape else ops.reshape(x, shape=node.shape)


@rule(ops.transpose(named("inner", ops.transpose(X))))
def transpose_twice(x: Node, inner: Node, node: Node) -> Any:
    first = inner.param("perm")
    return ops.transpose(x, perm=tuple(first[axis] for axis in node.param("perm")))


@rule(ops.slice(X))
def slice_everything(x: Node, node: Node) -> Node | None:
    return x if x.shape == node.shape and _forward(node) else None


def _forward(node: Node) -> bool:
    """Whether a slice that keeps every size keeps every element."""
    return all(start == 0 or size <= 1 for start, size in zip(node.param("starts"), node.shape, strict=True))


@rule(ops.slice(named("inner", ops.slice(X))))
def slice_twice(x: Node, inner: Node, node: Node) -> Any:
    outer = list(zip(node.param("starts"), node.param("steps"), node.shape, strict=True))
    if 0 in node.shape:
        return None
    starts, stops, steps = [], [], []
    for (start, step, size), first, by in zip(outer, inner.param("starts"), inner.param("steps"), strict=True):
        begin = first + by * start
        starts.append(begin)
        stops.append(begin + by * step * (size - 1) + 1)
        steps.append(by * step)
    return ops.slice(x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


@rule(ops.pad(X))
def pad_nothing(x: Node, node: Node) -> Node | None:
    return x if x.shape == node.shape else None


@rule(ops.pad(named("inner", ops.pad(X))))
def pad_twice(x: Node, inner: Node, node: Node) -> Any:
    value = node.param("value")
    if repr(inner.param("value")) != repr(value):
        return None
    low, high = (_sum(inner.param(side), node.param(side)) for side in ("low", "high"))
    return ops.pad(x, low=low, high=high, value=value)


def _sum(a: Shape, b: Shape) -> Shape:
    return tuple(x + y for x, y in zip(a, b, strict=True))


@rule(ops.flip(X))
def flip_nothing(x: Node, node: Node) -> Node | None:
    return x if all(x.shape[axis] <= 1 for axis in node.param("axes")) else None


@rule(ops.flip(named("inner", ops.flip(X))))
def flip_twice(x: Node, inner: Node, node: Node) -> Any:
    axes = tuple(sorted(set(inner.param("axes")) ^ set(node.param("axes"))))
    return ops.flip(x, axes=axes) if axes else x


@rule(applied("concatenate"))
def concatenate_one(node: Node) -> Node | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


RULES = (
    same_shape, reshape_twice, expand_twice, expand_adds_leading_ones, transpose_moves_no_element, transpose_twice,
    slice_everything, slice_twice, pad_nothing, pad_twice, flip_nothing, flip_twice, concatenate_one,
)  # fmt: skip


# Rules of `dce`: elements that nothing reads.


@rule(applied("concatenate"))
def concatenate_empty(node: Node) -> Any:
    axis = node.param("axis")
    kept = [x for x in node.inputs if x.shape[axis]]
    return ops.concatenate(*kept, axis=axis) if 0 < len(kept) < len(node.inputs) else None


@rule(ops.slice(named("whole", applied("concatenate"))))
def slice_of_some_operands(whole: Node, node: Node) -> Any:
    """Operands before and after what the slice keeps are dropped."""
    axis = whole.param("axis")
    start, stop = node.param("starts")[axis], node.param("stops")[axis]
    if 0 in node.shape:
        return None
    first = 0
    kept, before = [], 0
    for x in whole.inputs:
        end = first + x.shape[axis]
        if end <= start:
            before = end
        elif first < stop:
            kept.append(x)
        first = end
    if len(kept) == len(whole.inputs):
        return None
    starts, stops = (_moved(node.param(p), axis, -before) for p in ("starts", "stops"))
    joined = ops.concatenate(*kept, axis=axis) if len(kept) > 1 else kept[0]
    # The stop may lie beyond the last operand by less than a step.
    stops = (*stops[:axis], min(stops[axis], joined.shape[axis]), *stops[axis + 1 :])
    return ops.slice(joined, starts=starts, stops=stops, steps=node.param("steps"))


def _moved(indices: Shape, axis: int, by: int) -> Shape:
    return (*indices[:axis], indices[axis] + by, *indices[axis + 1 :])


@rule(ops.slice(named("padded", ops.pad(X))))
def slice_of_unpadded(x: Node, padded: Node, node: Node) -> Any:
    """Padding that the slice cuts off along every axis."""
    if 0 in node.shape:
        return None
    starts, stops = [], []
    rows = zip(node.param("starts"), node.param("steps"), node.shape, padded.param("low"), x.shape, strict=True)
    for start, step, size, low, length in rows:
        begin = start - low
        last = begin + step * (size - 1)
        if begin < 0 or last >= length:
            return None
        starts.append(begin)
        stops.append(last + 1)
    return ops.slice(x, starts=tuple(starts), stops=tuple(stops), steps=node.param("steps"))


@rule(ops.slice(named("folded", applied("fold"))))
def slice_of_folded(folded: Node, node: Node) -> Any:
    """Positions of padding that windows were also taken from: nothing is added up there."""
    spatial = len(folded.param("shape"))
    lead = folded.ndim - spatial
    starts = node.param("starts")
    if any(step != 1 for step in node.param("steps")) or folded.shape[:lead] != node.shape[:lead]:
        return None
    low, high = (folded.param(side) or (0,) * spatial for side in ("low", "high"))
    in_front = tuple(a + start for a, start in zip(low, starts[lead:], strict=True))
    left = zip(high, folded.shape[lead:], starts[lead:], node.shape[lead:], strict=True)
    behind = tuple(b + whole - start - size for b, whole, start, size in left)
    given = {name: folded.param(name) for name in ("shape", "stride", "dilation")}
    return folded.op(folded.inputs[0], **given, low=in_front, high=behind)


@rule(applied("index_put"))
def index_put_covers(node: Node) -> Any:
    """A write to the places that the next one overwrites."""
    inner = node.inputs[0]
    if node.param("add") or inner.op.name != "index_put":
        return None
    same = len(inner.inputs) == len(node.inputs) and all(
        a is b for a, b in zip(inner.inputs[2:], node.inputs[2:], strict=True)
    )
    if not same or inner.param("axes") != node.param("axes"):
        return None
    return node.op(inner.inputs[0], *node.inputs[1:], **dict(node.params))


#: The last two, of `simplify`, tidy up after the others.
DEAD_RULES = (
    concatenate_empty, slice_of_some_operands, slice_of_unpadded, slice_of_folded, index_put_covers, slice_everything,
    slice_twice,
)  # fmt: skip
