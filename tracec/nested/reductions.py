"""Sums, means and the like of nested tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError
from tracec.functions.common import cast, fail, many_axes, one_axis
from tracec.nested.jagged import NestedTensor, handles
from tracec.record.limits import iinfo
from tracec.record.tensor import Tensor
from tracec.sparse.coo import added


def _axes(name: str, x: NestedTensor, dim: Any) -> tuple[int, ...]:
    """The axes that are reduced; with the list all of the ragged axis goes.

    Raises:
        ArgumentError: the list is reduced and the ragged axis is not.
    """
    axes = many_axes(name, dim, x.ndim)
    if 0 in axes and x._axis not in axes:
        fail(
            ArgumentError,
            f"{name}(): reducing along the batch dimension but not the ragged dimension is not supported for nested "
            "tensors",
            x.way_out,
        )
    return axes


def _reduced(
    name: str, x: NestedTensor, dim: Any, keepdim: bool, inner: Callable[[Tensor, Sequence[int]], Tensor],
    along: Callable[[NestedTensor], Tensor],
) -> Any:  # fmt: skip
    """A reduction: of the other axes over the values, then of the ragged one.

    Args:
        name: The function, for errors.
        x: A nested tensor.
        dim: What the user gave.
        keepdim: Whether the axes stay, with size 1.
        inner: Reduces axes of dense values, which stay with size 1.
        along: Reduces the ragged axis: shape ``(tensors, ...)`` without it, from values whose ragged axis is 1.
    """
    axes = _axes(name, x, dim)
    if 0 in axes:
        found: Any = inner(x._data, [a - 1 for a in axes if a])
        return found.unsqueeze(0) if keepdim and dim is not None else _without(found, [a - 1 for a in axes if a])
    rest = [a - 1 for a in axes if a != x._axis]
    found = x.with_data(inner(x._data, rest)) if rest else x
    if x._axis in axes:
        front = found.with_data(F.movedim(found._data, x._axis - 1, 0))
        dense = along(NestedTensor(front._data, x._places[0], None))
        dense = F.movedim(dense.unsqueeze(1), 1, x._axis)
        return dense if keepdim else _without(dense, list(axes))
    if keepdim:
        return found
    gone = sum(a < x._axis for a in axes)
    values = _without(found._data, rest)
    return NestedTensor(values, x._places[0], None, x._axis - gone, x.layout)


def _without(x: Tensor, axes: Sequence[int]) -> Tensor:
    return F.reshape(x, tuple(n for k, n in enumerate(x.shape) if k not in axes))


def _sums(x: NestedTensor) -> Tensor:
    return added(x._data, x.rows()[0], x._sizes[0])  # type: ignore[no-any-return]


def _counts(x: NestedTensor, like: Tensor) -> Tensor:
    ends = x._places[0]
    count = x._sizes[0]
    lengths = ops.sub(F.narrow(ends, 0, 1, count), F.narrow(ends, 0, 0, count))
    return F.reshape(cast(lengths, like.dtype), (count, *(1,) * (like.ndim - 1)))


@handles("sum")
def sum_(input: NestedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum along axes; a dense tensor where the ragged one is among them."""
    wide = F.sum(F.zeros(1, dtype=input.dtype), dtype=dtype).dtype
    x = input.with_data(cast(input._data, wide))
    return _reduced("sum", x, dim, keepdim, lambda v, axes: F.sum(v, axes, keepdim=True), _sums)


@handles("mean")
def mean(input: NestedTensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean along axes; along the ragged one each tensor's own."""
    x = input.with_data(cast(input._data, dtype))

    def along(v: NestedTensor) -> Tensor:
        sums = _sums(v)
        return ops.div(sums, _counts(v, sums))  # type: ignore[no-any-return]

    return _reduced("mean", x, dim, keepdim, lambda v, axes: F.mean(v, axes, keepdim=True), along)


def _padded(name: str, padding: Callable[[NestedTensor], Any]) -> Callable[..., Any]:
    """A reduction along the ragged axis by way of the padded tensor, padded by what changes nothing."""
    function = getattr(F, name)

    def run(input: NestedTensor, dim: Any = None, keepdim: bool = False) -> Any:
        def along(v: NestedTensor) -> Tensor:
            return function(v.padded(padding(v), v._max_seqlen), 1)  # type: ignore[no-any-return]

        def inner(v: Tensor, axes: Sequence[int]) -> Tensor:
            for axis in axes if name == "prod" else ():
                v = F.prod(v, axis, keepdim=True)
            return v if name == "prod" else function(v, tuple(axes), keepdim=True)

        return _reduced(name, input, dim, keepdim, inner, along)

    return run


def _least(x: NestedTensor) -> Any:
    if x.dtype.is_floating_point:
        return float("-inf")
    return False if x.dtype.kind == "b" else iinfo(x.dtype).min


def _largest(x: NestedTensor) -> Any:
    if x.dtype.is_floating_point:
        return float("inf")
    return True if x.dtype.kind == "b" else iinfo(x.dtype).max


for _name, _padding in {
    "amax": _least, "amin": _largest, "prod": lambda x: 1, "any": lambda x: False, "all": lambda x: True,
    "logsumexp": lambda x: float("-inf"),
}.items():  # fmt: skip
    handles(_name)(_padded(_name, _padding))


def _picked(name: str, padding: Callable[[NestedTensor], Any]) -> Callable[..., Any]:
    """The largest or smallest along one axis, and where it is."""

    def run(input: NestedTensor, dim: Any = None, keepdim: bool = False) -> Any:
        function = getattr(F, name)
        if dim is None:
            return function(input._data)
        axis = one_axis(name, dim, input.ndim)
        if axis == input._axis:
            return function(input.padded(padding(input), input._max_seqlen), axis, keepdim)
        if not axis:
            fail(ArgumentError, f"{name}: not supported along the batch axis of a nested tensor", input.way_out)
        found = function(input._data, axis - 1, keepdim)
        ragged = input._axis - (axis < input._axis and not keepdim)

        def nested(v: Tensor) -> NestedTensor:
            return NestedTensor(v, input._places[0], None, ragged, input.layout)

        return type(found)(*map(nested, found)) if isinstance(found, tuple) else nested(found)

    return run


for _name, _padding in {"max": _least, "min": _largest, "argmax": _least, "argmin": _largest}.items():
    handles(_name)(_picked(_name, _padding))
