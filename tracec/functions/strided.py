"""Looks at memory at strides, windows over an axis, and tensors with a part of them replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ShapeError, UnsupportedError
from tracec.functions.common import check_tensor, fail, integers, one_axis
from tracec.functions.diagonals import diagonal
from tracec.functions.shape import narrow, select
from tracec.record.method import tensor_method
from tracec.record.tape import root_of
from tracec.record.tensor import Tensor
from tracec.record.write import whole_of


@tensor_method
def as_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None) -> Tensor:
    """A view of the memory that a tensor looks at.

    Args:
        input: A tensor.
        size: The view's shape.
        stride: Steps between neighbours along each axis, in elements.
        storage_offset: Where in the memory it begins; by default where the input does.

    Raises:
        ShapeError: the view leaves the memory.
    """
    check_tensor("as_strided", input)
    shape, strides = (integers("as_strided", v, n) for v, n in ((size, "size"), (stride, "stride")))
    if len(shape) != len(strides):
        fail(ShapeError, f"as_strided: mismatch in length of strides {strides} and shape {shape}", "one for each axis")
    offset = (
        input.storage_offset() if storage_offset is None else integers("as_strided", (storage_offset,), "offset")[0]
    )
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    whole, before = _memory(input, offset, last)
    offset, last = offset - before, last - before
    negative = offset < 0 or any(n < 0 for n in (*shape, *strides))
    if negative or (0 not in shape and last >= whole.numel()):
        fail(
            ShapeError,
            f"as_strided: setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset} are out of "
            f"bounds for storage of {whole.numel()} elements",
            "stay inside of the memory; sizes and strides are 0 or more",
        )
    return ops.as_strided(whole, shape=shape, strides=strides, offset=offset)


def _memory(x: Tensor, first: int, last: int) -> tuple[Tensor, int]:
    """The memory that a tensor looks at, in the order of its addresses, and how much of it is left out in front.

    Gradients flow through. A part of memory that requires grad stands for itself where all that is looked at, from
    element ``first`` to ``last``, lies in it.
    """
    root: Any = root_of(x)
    whole: Any = root
    if root._steps:
        start = root.storage_offset()
        end = start + root.numel()
        if root.requires_grad and root.is_contiguous() and start <= first and last < end:
            return root, start
        if root.requires_grad and not (root.is_contiguous() and (last < start or end <= first)):
            fail(
                UnsupportedError,
                "as_strided: of a tensor that requires grad and looks at a part of memory gradients cannot be told",
                "take the view of the whole tensor, or clone() the part first",
            )
        whole = whole_of(root)
    array = whole._array
    order = sorted(range(array.ndim), key=lambda a: -abs(array.strides[a]))
    moved = ops.transpose(whole, perm=tuple(order)) if order != list(range(array.ndim)) else whole
    if not moved.is_contiguous():
        fail(
            ShapeError,
            "as_strided: the memory of an array with gaps between its elements cannot be looked at",
            "use contiguous() first",
        )
    return moved, 0


@tensor_method(name="unfold")
def unfold_axis(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """A view of all windows over an axis, each along a new last axis.

    Args:
        input: A tensor.
        dimension: The axis.
        size: How many elements a window holds.
        step: How far the next one is.
    """
    check_tensor("unfold", input)
    axis = one_axis("unfold", dimension, input.ndim)
    size, step = integers("unfold", (size, step), "size and step")
    n = input.shape[axis] if input.ndim else 1
    if not 0 <= size <= n:
        fail(ArgumentError, f"unfold: maximum size for tensor at dimension {axis} is {n} but size is {size}", "less")
    if step < 1:
        fail(ArgumentError, f"unfold: step is {step} but must be > 0", "give at least 1")
    if not input.ndim:
        return ops.reshape(input, shape=(1,)) if size else ops.reshape(input, shape=(1,))[:0]
    others = [a for a in range(input.ndim) if a != axis]
    last = ops.transpose(input, perm=(*others, axis))
    if not size:
        empty = last[..., :0]
        windows = ops.expand(
            ops.reshape(empty, shape=(*empty.shape[:-1], 1, 0)), shape=(*empty.shape[:-1], n // step + 1, 0)
        )
    else:
        windows = ops.windows(last, size=(size,), stride=(step,), dilation=(1,))
    back = list(range(input.ndim - 1))
    back.insert(axis, input.ndim - 1)
    return ops.transpose(windows, perm=(*back, input.ndim))


# A part replaced --------------------------------------------------------------------------------------


def _replaced(name: str, input: Tensor, src: Tensor, part: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of the input whose part is ``src``."""
    check_tensor(name, input)
    check_tensor(name, src, "src")
    result = input.clone()
    view = part(result)
    if tuple(view.shape) != tuple(src.shape):
        fail(
            ShapeError,
            f"{name}: expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice "
            f"size = {list(view.shape)}",
            "reshape or expand src",
        )
    view.copy_(src)
    return result


@tensor_method
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """The input with one position of an axis replaced."""
    return _replaced("select_scatter", input, src, lambda x: select(x, dim, index))


@tensor_method
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """The input with a slice of an axis replaced."""
    return _replaced("slice_scatter", input, src, lambda x: _slice(x, dim, start, end, step))


def _slice(x: Tensor, dim: int, start: int | None, end: int | None, step: int) -> Tensor:
    axis = one_axis("slice_scatter", dim, x.ndim)
    found: Tensor = x[(slice(None),) * axis + (slice(start, end, step),)]
    return found


@tensor_method
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The input with a diagonal replaced."""
    return _replaced("diagonal_scatter", input, src, lambda x: diagonal(x, offset, dim1, dim2))


@tensor_method
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """The input with what a view at strides looks at replaced."""
    return _replaced("as_strided_scatter", input, src, lambda x: as_strided(x, size, stride, storage_offset))


@tensor_method
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A stretch of an axis, in memory of its own."""
    return narrow(input, dim, start, length).clone()
