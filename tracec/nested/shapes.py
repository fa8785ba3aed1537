"""Axes of nested tensors: exchanged, cut, joined, picked from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tracec.functions as F
from tracec.errors import ArgumentError, AxisError, ShapeError
from tracec.functions.common import fail, one_axis
from tracec.nested.jagged import NestedTensor, Ragged, check_nested, handles, inner_axis
from tracec.record.tensor import Tensor


def _with(x: NestedTensor, values: Tensor, ragged: int) -> NestedTensor:
    return NestedTensor(values, x._places[0], None, ragged, x.layout)


@handles("transpose", "swapaxes", "swapdims")
def transpose(input: NestedTensor, dim0: int, dim1: int) -> NestedTensor:
    """Two axes exchanged, neither of them the list."""
    a, b = (one_axis("transpose", d, input.ndim) for d in (dim0, dim1))
    if a == b:
        return input
    if 0 in (a, b):
        fail(ArgumentError, "transpose: not supported on the batch dimension of nested tensors", input.way_out)
    ragged = {a: b, b: a}.get(input._axis, input._axis)
    return _with(input, F.transpose(input._data, a - 1, b - 1), ragged)


@handles("permute")
def permute(input: NestedTensor, *dims: Any) -> NestedTensor:
    """The axes in another order, the list first."""
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    order = [one_axis("permute", d, input.ndim) for d in given]
    if sorted(order) != list(range(input.ndim)) or order[0]:
        fail(ArgumentError, f"permute: dims {tuple(order)} of a nested tensor", "name each axis once, 0 first")
    return _with(input, F.permute(input._data, [d - 1 for d in order[1:]]), order.index(input._axis))


@handles("mT")
def last_two_exchanged(input: NestedTensor) -> NestedTensor:
    """The last two axes exchanged."""
    return transpose(input, -2, -1)


@handles("unsqueeze")
def unsqueeze(input: NestedTensor, dim: int) -> NestedTensor:
    """One more axis, of size 1, behind the list."""
    at = one_axis("unsqueeze", dim, input.ndim + 1)
    if not at:
        fail(ArgumentError, "unsqueeze: the list stays the first axis of a nested tensor", "use another dim")
    return _with(input, F.unsqueeze(input._data, at - 1), input._axis + (at <= input._axis))


@handles("squeeze")
def squeeze(input: NestedTensor, dim: int) -> NestedTensor:
    """An axis of size 1 left out."""
    axis = inner_axis("squeeze", input, dim)
    if input._data.shape[axis] != 1:
        return input
    return _with(input, F.squeeze(input._data, axis), input._axis - (axis + 1 < input._axis))


@handles("unflatten")
def unflatten(input: NestedTensor, dim: int, sizes: Sequence[int]) -> NestedTensor:
    """An axis that is not ragged as several."""
    axis = inner_axis("unflatten", input, dim)
    more = len(tuple(sizes)) - 1
    return _with(input, F.unflatten(input._data, axis, sizes), input._axis + more * (axis + 1 < input._axis))


@handles("flatten")
def flatten(input: NestedTensor, start_dim: int = 0, end_dim: int = -1) -> NestedTensor:
    """Several axes, none of them ragged, as one."""
    first, last = (inner_axis("flatten", input, d) for d in (start_dim, end_dim))
    if first < input._axis - 1 < last:
        fail(ArgumentError, "flatten: the ragged axis is among those of a nested tensor", input.way_out)
    fewer = (last - first) * (last + 1 < input._axis)
    return _with(input, F.flatten(input._data, first, last), input._axis - fewer)


@handles("view", "reshape")
def view(input: NestedTensor, *shape: Any) -> NestedTensor:
    """Other axes behind the ragged one, which is -1 or its `Ragged` in the shape.

    Raises:
        ShapeError: the list, the ragged axis or what is before it is another one.
    """
    given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    k = input._axis
    same = len(given) > k and given[:k] == input._sizes[:k] and (given[k] is input._ragged or given[k] == -1)
    if not same or any(isinstance(n, Ragged) for n in given[k + 1 :]):
        fail(
            ShapeError,
            f"view: shape {given} of a nested tensor of shape {tuple(input.shape)}",
            f"it begins with {input._sizes[: k + 1]}, -1 for the ragged axis",
        )
    total = input._data.shape[k - 1]
    return input.with_data(F.reshape(input._data, (*given[1:k], total, *given[k + 1 :])))


@handles("chunk")
def chunk(input: NestedTensor, chunks: int, dim: int = 0) -> tuple[NestedTensor, ...]:
    """Pieces along an axis that is not ragged."""
    axis = inner_axis("chunk", input, dim)
    return tuple(input.with_data(v) for v in F.chunk(input._data, chunks, axis))


@handles("split", "split_with_sizes")
def split(input: NestedTensor, split_size_or_sections: Any, dim: int = 0) -> tuple[NestedTensor, ...]:
    """Pieces of given sizes along an axis that is not ragged."""
    axis = inner_axis("split", input, dim)
    return tuple(input.with_data(v) for v in F.split(input._data, split_size_or_sections, axis))


@handles("narrow")
def narrow(input: NestedTensor, dim: int, start: int, length: int) -> NestedTensor:
    """A piece of an axis that is not ragged."""
    return input.with_data(F.narrow(input._data, inner_axis("narrow", input, dim), start, length))


@handles("select")
def select(input: NestedTensor, dim: int, index: int) -> Any:
    """One of the tensors; or one place of an axis that is not ragged."""
    axis = one_axis("select", dim, input.ndim)
    if axis:
        ragged = input._axis - (axis < input._axis)
        return _with(input, F.select(input._data, inner_axis("select", input, dim), index), ragged)
    count = input._sizes[0]
    if not -count <= index < count:
        fail(AxisError, f"select: index {index} is out of bounds for dimension 0 with size {count}", "name a tensor")
    return input.unbind()[index]


@handles("__getitem__")
def get_item(input: NestedTensor, key: Any) -> Any:
    """One of the tensors and what the rest of the key picks of it; or, behind ``...``, places of the last axes.

    Raises:
        UnsupportedError: the list or the ragged axis is indexed by anything else.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if parts and isinstance(parts[0], int):
        found = select(input, 0, parts[0])
        return found[parts[1:]] if len(parts) > 1 else found
    if parts and parts[0] is Ellipsis:
        rest = parts[1:]
    else:
        whole = [p == slice(None) if isinstance(p, slice) else False for p in parts]
        if not all(whole[: input._axis + 1]):
            NestedTensor.refuse("index along the list or the ragged axis")
        rest = parts[input._axis + 1 :] + (slice(None),) * (input.ndim - len(parts))
    if len(rest) > input.ndim - input._axis - 1 or any(not isinstance(p, (int, slice)) for p in rest):
        NestedTensor.refuse("index by this key")
    return _with(input, input._data[(..., *rest)], input._axis)


def _alike(name: str, tensors: Sequence[Any]) -> NestedTensor:
    for x in tensors:
        check_nested(name, x, "each of tensors")
        if not x.is_cut_as(tensors[0]) or x._axis != tensors[0]._axis:
            shapes = f"{tuple(tensors[0].shape)} and {tuple(x.shape)}"
            fail(ShapeError, f"{name}: nested tensors of shapes {shapes}", "all are cut at the same places")
    return tensors[0]  # type: ignore[no-any-return]


@handles("cat", "concat", "concatenate")
def cat(tensors: Sequence[Any], dim: int = 0) -> NestedTensor:
    """Nested tensors that are cut alike, one behind the other along an axis that is not ragged."""
    first = _alike("cat", tensors)
    return first.with_data(F.cat([x._data for x in tensors], inner_axis("cat", first, dim)))


@handles("stack")
def stack(tensors: Sequence[Any], dim: int = 0) -> NestedTensor:
    """Nested tensors that are cut alike, side by side along a new axis behind the list."""
    _alike("stack", tensors)
    return cat([unsqueeze(x, dim) for x in tensors], one_axis("stack", dim, tensors[0].ndim + 1))
