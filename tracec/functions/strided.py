"""Windows over an axis, and tensors with a part of them replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.addressed import as_strided
from tracec.functions.common import check_tensor, fail, integers, one_axis
from tracec.functions.diagonals import diagonal
from tracec.functions.shape import narrow, select
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


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
