"""Several tensors made one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import cast, check_tensor, fail, one_axis, reshaped
from tracec.functions.shape import unsqueeze
from tracec.ir import dtype as dt
from tracec.record.autocast import WIDEST, under_autocast
from tracec.record.tensor import Tensor


@under_autocast(WIDEST)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis; their other sizes agree, dtypes are promoted to a common one.

    Args:
        tensors: A list or tuple of at least one tensor.
        dim: The axis; counted from the end where negative.

    Returns:
        A tensor whose size along ``dim`` is the sum of theirs.

    Raises:
        ShapeError: sizes differ along another axis, or a tensor has no axes.
    """
    given = _several("cat", tensors)
    for i, t in enumerate(given):
        if not t.ndim:
            fail(ShapeError, f"cat: zero-dimensional tensor (tensor {i}) cannot be concatenated", "stack them")
    # PyTorch lets empty vectors of one axis be joined to anything.
    kept = [t for t in given if tuple(t.shape) != (0,)] or given[:1]
    axis = one_axis("cat", dim, kept[0].ndim)
    first = tuple(kept[0].shape)
    for i, t in enumerate(kept):
        shape = tuple(t.shape)
        if len(shape) != len(first) or shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            fail(
                ShapeError,
                f"cat: shapes {first} and {shape} (tensor {i}) differ outside of axis {axis}",
                "all sizes but that of the joined axis agree",
            )
    common = reduce(dt.promote, (t.dtype for t in given))
    return ops.concatenate(*(cast(t, common) for t in kept), axis=axis) if len(kept) > 1 else _copied(kept[0], common)


def _copied(x: Tensor, dtype: dt.DType) -> Tensor:
    return x.clone() if x.dtype is dtype else cast(x, dtype)


concat = concatenate = cat


@under_autocast(WIDEST)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape one after the other along a new axis.

    Args:
        tensors: A list or tuple of at least one tensor.
        dim: Where the new axis goes.

    Returns:
        A tensor with one axis more, whose size is the number of tensors.

    Raises:
        ShapeError: shapes differ.
    """
    given = _several("stack", tensors)
    first = tuple(given[0].shape)
    for i, t in enumerate(given):
        if tuple(t.shape) != first:
            fail(ShapeError, f"stack: shapes {first} and {tuple(t.shape)} (tensor {i}) differ", "all shapes must agree")
    axis = one_axis("stack", dim, len(first) + 1)
    common = reduce(dt.promote, (t.dtype for t in given))
    return ops.concatenate(*(unsqueeze(cast(t, common), axis) for t in given), axis=axis)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side: along axis 1, vectors along axis 0."""
    given = [_wide(t, 1) for t in _several("hstack", tensors)]
    return cat(given, 0 if given[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one below the other; vectors are rows."""
    return cat([_wide(t, 2) for t in _several("vstack", tensors)], 0)


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors one behind the other, along a third axis, which vectors and matrices are given."""
    return cat([_wide(t, 3) for t in _several("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors side by side; vectors are columns."""
    given = [reshaped(t, (t.numel(), 1)) if t.ndim < 2 else t for t in _several("column_stack", tensors)]
    return cat(given, 1)


def _wide(x: Tensor, ndim: int) -> Tensor:
    """The tensor with at least one, two or three axes: a vector is a row, a matrix has a last axis of size 1."""
    shape = tuple(x.shape)
    if len(shape) >= ndim:
        return x
    if ndim == 1:
        return reshaped(x, (1,))
    row = (1, *shape) if shape else (1, 1)
    return reshaped(x, row if ndim == 2 else (*(row if len(shape) < 2 else shape), 1))


def _atleast(name: str, tensors: tuple[Any, ...], ndim: int) -> Any:
    given = tensors[0] if len(tensors) == 1 else tensors
    if isinstance(given, Tensor):
        return _wide(given, ndim)
    if not isinstance(given, (tuple, list)):
        check_tensor(name, given)
    for i, t in enumerate(given):
        check_tensor(name, t, f"element {i}")
    return tuple(_wide(t, ndim) for t in given)


def atleast_1d(*tensors: Any) -> Any:
    """Tensors with an axis at least; one tensor gives a tensor, several give a tuple."""
    return _atleast("atleast_1d", tensors, 1)


def atleast_2d(*tensors: Any) -> Any:
    """Tensors with two axes at least: vectors are rows."""
    return _atleast("atleast_2d", tensors, 2)


def atleast_3d(*tensors: Any) -> Any:
    """Tensors with three axes at least: vectors are rows, and the last axis is the new one."""
    return _atleast("atleast_3d", tensors, 3)


def _several(name: str, tensors: Sequence[Tensor]) -> list[Tensor]:
    if isinstance(tensors, Tensor) or not isinstance(tensors, (tuple, list)):
        fail(ArgumentTypeError, f"{name}: takes a list of tensors, {type(tensors).__name__} given", "put it in a list")
    if not tensors:
        fail(ArgumentError, f"{name}: the list of tensors is empty", "give at least one tensor")
    for i, t in enumerate(tensors):
        check_tensor(name, t, f"element {i}")
    return list(tensors)
