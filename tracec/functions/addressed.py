"""Looks at the memory of a tensor, element by element of their addresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ShapeError, UnsupportedError
from tracec.functions.common import check_tensor, fail, integers
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
    order = _by_address(whole)
    moved = ops.transpose(whole, perm=tuple(order)) if order != sorted(order) else whole
    if not moved.is_contiguous():
        fail(
            ShapeError,
            "as_strided: the memory of an array with gaps between its elements cannot be looked at",
            "use contiguous() first",
        )
    return moved, 0


def _by_address(x: Tensor) -> list[int]:
    """The axes, those first along which neighbours are farthest apart."""
    strides = x._array.strides
    return sorted(range(len(strides)), key=lambda a: -abs(strides[a]))


def has_addresses(x: Tensor) -> bool:
    """Whether `as_strided` can look at the memory of a tensor: that of one array, without gaps."""
    root: Any = root_of(x)
    whole: Any = whole_of(root) if root._steps else root
    if whole.dtype is not x.dtype:  # as of the real parts of complex numbers
        return False
    expected = whole._array.itemsize
    for axis in reversed(_by_address(whole)):
        size, step = whole._array.shape[axis], whole._array.strides[axis]
        if size != 1 and step != expected:
            return False
        expected *= size
    return True
