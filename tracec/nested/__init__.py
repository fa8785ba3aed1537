"""Nested tensors: lists of tensors of several sizes as one, under the names of ``torch.nested``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import tracec.functions as F
from tracec.errors import ArgumentError, ArgumentTypeError, DTypeError, ShapeError, name_missing
from tracec.functions.common import check_tensor, fail
from tracec.functions.positions import not_rising
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.nested import elementwise, products, reductions, shapes  # noqa: F401 (they enter their functions)
from tracec.nested.jagged import NestedTensor, check_nested, of_tensors
from tracec.record.check import check_none
from tracec.record.form import Layout, jagged, strided
from tracec.record.tensor import Tensor


def nested_tensor(
    tensor_list: Sequence[Any],
    *,
    dtype: DType | None = None,
    layout: Layout | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> NestedTensor:
    """A nested tensor of a list, whose elements it copies.

    Args:
        tensor_list: Tensors, or nested lists, that differ in the size of one axis; with the layout ``jagged`` in that
            of the first.
        dtype: Element type; by default that of the first.
        layout: ``tracec.jagged``; or ``tracec.strided``, the default.
        device: Where it is to be; by default where the first is.
        requires_grad: Whether gradients are computed for it.
        pin_memory: Only False is supported.

    Raises:
        ShapeError: they differ in more than one axis.
        ArgumentError: there are none.
    """
    made = _made("nested_tensor", tensor_list, dtype, device, layout, copy=True)
    return made.detach().requires_grad_() if requires_grad else made.detach()


def as_nested_tensor(
    ts: Any, dtype: DType | None = None, device: Any = None, layout: Layout | None = None
) -> NestedTensor:
    """A nested tensor of a list of tensors, to which gradients flow, or of the rows of one tensor.

    Args:
        ts: Tensors that differ in the size of one axis, a tensor of two axes or more, or a nested tensor.
        dtype: Element type; by default that of the first.
        device: Where it is to be; by default where the first is.
        layout: ``tracec.jagged``; or ``tracec.strided``, the default.
    """
    if isinstance(ts, NestedTensor):
        return ts.to(device=device, dtype=dtype)
    if isinstance(ts, Tensor):
        if ts.ndim < 2:
            fail(ArgumentError, f"as_nested_tensor: a tensor of {ts.ndim} dimensions", "it has 2 or more")
        ts = list(F.unbind(ts))
    return _made("as_nested_tensor", ts, dtype, device, layout, copy=False)


def _made(name: str, given: Any, dtype: Any, device: Any, layout: Layout | None, copy: bool) -> NestedTensor:
    layout = strided if layout is None else layout
    if layout not in (strided, jagged):
        fail(ArgumentError, f"{name}: layout={layout!r} is not known", "use tracec.jagged or tracec.strided")
    if not isinstance(given, (list, tuple)):
        fail(ArgumentTypeError, f"{name}: takes a list of tensors, {type(given).__name__} given", "give a list")
    tensors = [F.as_tensor(t, dtype=dtype, device=device) for t in given]
    if tensors:
        tensors = [t.to(tensors[0].dtype) for t in tensors]
    made = of_tensors(name, tensors, layout)
    return made.with_data(made._data.clone()) if copy and len(tensors) == 1 else made


def nested_tensor_from_jagged(
    values: Tensor,
    offsets: Tensor | None = None,
    lengths: Tensor | None = None,
    jagged_dim: int | None = None,
    min_seqlen: int | None = None,
    max_seqlen: int | None = None,
) -> NestedTensor:
    """A nested tensor of values that lie one behind the other, as a view of them.

    Args:
        values: Shape ``(sum of sizes, ...)``, or with that axis where ``jagged_dim`` says.
        offsets: Where each tensor begins, and where the last one ends, int64 or int32.
        lengths: The sizes instead; with offsets, only None is supported.
        jagged_dim: The ragged axis, counted with the list; by default 1.
        min_seqlen: PyTorch's argument; sizes are read off the offsets where they are needed.
        max_seqlen: Likewise.

    Raises:
        ArgumentError: both, or neither, of offsets and lengths are given, or they do not fit the values.
    """
    name = "nested_tensor_from_jagged"
    check_tensor(name, values, "values")
    if (offsets is None) == (lengths is None):
        fail(ArgumentError, f"{name}: give either offsets or lengths", "tensors with gaps between them are not there")
    given = lengths if offsets is None else offsets
    check_tensor(name, given, "offsets or lengths")
    assert given is not None
    if given.ndim != 1 or given.dtype not in (dt.int64, dt.int32):
        error = ShapeError if given.ndim != 1 else DTypeError
        fail(error, f"{name}: offsets are {given.dtype.name} of shape {tuple(given.shape)}", "a vector of integers")
    if offsets is None:
        ends = F.cat([F.zeros(1, dtype=dt.int64, device=given.device), F.cumsum(given, 0, dtype=dt.int64)])
    else:
        ends = offsets if offsets.dtype is dt.int64 else offsets.long()
    axis = 1 if jagged_dim is None else jagged_dim
    if not 1 <= axis <= values.ndim:
        fail(ShapeError, f"{name}: jagged_dim={jagged_dim} for values of {values.ndim} axes", "it is 1 or more")
    total = values.shape[axis - 1]

    if not ends.numel():
        fail(ArgumentError, f"{name}: no offsets for {total} places", "they rise from 0 to that number")

    def refuse(at: Any) -> NoReturn:
        told = "" if at is None else f" {at.tolist()}"
        fail(ArgumentError, f"{name}: offsets{told} for {total} places", "they rise from 0 to that number")

    check_none(not_rising(ends, total), refuse, shown=ends)
    return NestedTensor(values, ends, None, axis)


def to_padded_tensor(input: Any, padding: float, output_size: Sequence[int] | None = None) -> Tensor:
    """A dense tensor in which every tensor of a nested one has the largest size; `NestedTensor.to_padded_tensor`."""
    check_nested("to_padded_tensor", input)
    return input.to_padded_tensor(padding, output_size)  # type: ignore[no-any-return]


def narrow(tensor: Tensor, dim: int, start: Any, length: Any, layout: Layout = strided) -> NestedTensor:
    """A nested tensor of pieces of the rows of a dense one.

    Args:
        tensor: Shape ``(rows, n, ...)``.
        dim: Only 1 is supported.
        start: Where each piece begins: a number, or one for each row.
        length: How long each is: a number, or one for each row.
        layout: ``tracec.jagged``, or ``tracec.strided``.
    """
    if dim != 1:
        fail(ArgumentError, f"narrow: dim={dim}", "pieces are taken along axis 1")
    rows = tensor.shape[0]
    starts, sizes = (v.tolist() if isinstance(v, Tensor) and v.ndim else [int(v)] * rows for v in (start, length))
    pieces = [F.narrow(tensor[k], 0, starts[k], sizes[k]) for k in range(rows)]
    return of_tensors("narrow", pieces, layout)


def masked_select(tensor: Tensor, mask: Tensor) -> NestedTensor:
    """A nested tensor of the elements of each row where a mask is true; with the layout ``jagged``.

    Args:
        tensor: Shape ``(rows, n)``.
        mask: Bools that broadcast to the tensor.
    """
    check_tensor("masked_select", mask, "mask")
    if tensor.ndim != 2:
        fail(ShapeError, f"masked_select: a tensor of {tensor.ndim} axes", "it is (rows, n)")
    mask = F.expand(mask, tensor.shape)
    return nested_tensor_from_jagged(F.masked_select(tensor, mask), lengths=F.sum(mask, 1))


__all__ = [
    "NestedTensor", "as_nested_tensor", "masked_select", "narrow", "nested_tensor", "nested_tensor_from_jagged",
    "to_padded_tensor",
]  # fmt: skip


if not TYPE_CHECKING:

    def __getattr__(name):
        raise name_missing(sys.modules[__name__], name)
