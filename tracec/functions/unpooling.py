"""Max pooling undone: values put back to where they came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.axes import over_axes
from tracec.functions.common import (
    check_ndim,
    check_tensor,
    fail,
    filled,
    integers,
    iota,
    is_differentiated,
    out_of,
    per_axis,
    reshaped,
)
from tracec.ir import dtype as dt
from tracec.ir.types import Shape
from tracec.record.check import check_range
from tracec.record.tensor import Tensor

Sizes = int | Sequence[int]


def _max_unpool(
    name: str, n: int, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
    padding: Sizes = 0, output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """Values put where a max pooling with ``return_indices`` took them from, with zeros around.

    Args:
        input: Shape ``(N, C, …)`` or ``(C, …)``.
        indices: Positions in row-major order of the result's spatial axes, int64, of the input's shape.
        kernel_size: Sizes of the window of the pooling.
        stride: Its steps; the window's sizes by default.
        padding: Its padding.
        output_size: Sizes of the result, as several pool to one; with or without those of N and C. By default those
            that the pooling leaves nothing over of.

    Raises:
        ShapeError: input and indices have different shapes.
        ArgumentError: output_size is further than a step from the default.
        AxisError: an index lies outside of the result.

    Where several values go to one place, the last one stays.
    """
    x = input
    check_ndim(name, x, (n + 1, n + 2), f"(N, C, …) with {n} spatial axes, with or without N")
    check_tensor(name, indices, "indices")
    if indices.dtype is not dt.int64:
        fail(DTypeError, f"{name}: indices are {indices.dtype.name}, not int64", "cast them with .long()")
    if tuple(indices.shape) != tuple(x.shape):
        fail(
            ShapeError,
            f"{name}: indices of shape {tuple(indices.shape)} for input of shape {tuple(x.shape)}",
            "there is one for each element",
        )
    kernel = per_axis(name, kernel_size, n, "kernel_size")
    steps = kernel if stride is None or stride in ((), []) else per_axis(name, stride, n, "stride")
    pads = per_axis(name, padding, n, "padding")
    sizes = _unpooled_sizes(name, tuple(x.shape[-n:]), kernel, steps, pads, output_size)
    places = math.prod(sizes)
    _check_inside(name, indices, places, sizes)
    lead = tuple(x.shape[:-n])
    maps, each = math.prod(lead), math.prod(x.shape[-n:])
    at = reshaped(indices, (maps, each))
    row = iota((maps, 1), 0, dt.int64, x)
    return reshaped(_put(reshaped(x, (maps, each)), row, at, filled(0, x, (maps, places))), (*lead, *sizes))


max_unpool1d, max_unpool2d, max_unpool3d = (
    over_axes(_max_unpool, 1), over_axes(_max_unpool, 2), over_axes(_max_unpool, 3)
)  # fmt: skip


def _put(x: Tensor, row: Tensor, at: Tensor, board: Tensor) -> Tensor:
    written = ops.index_put(board, x.detach(), row, at, axes=(0, 1), add=False)
    if not is_differentiated(x):
        return written
    # As in PyTorch, elements that others are written over get the gradient of their place too: that of a sum, whose
    # value goes out again.
    total = ops.index_put(board, x, row, at, axes=(0, 1), add=True)
    nothing = ops.sub(total, total.detach())
    return ops.add(written, ops.where(ops.eq(nothing.detach(), 0.0), nothing, 0.0))


def _unpooled_sizes(
    name: str, given: Shape, kernel: Shape, steps: Shape, pads: Shape, output_size: Sequence[int] | None
) -> Shape:
    axes = zip(given, kernel, steps, pads, strict=True)
    default = tuple((size - 1) * step + k - 2 * p for size, k, step, p in axes)
    if output_size is None:
        return default
    wanted = integers(name, output_size, "output_size")
    n = len(given)
    if len(wanted) == n + 2:
        wanted = wanted[2:]
    if len(wanted) != n:
        fail(
            ArgumentError, f"{name}: output_size={tuple(output_size)} does not fit {n} spatial axes", f"give {n} sizes"
        )
    if not all(d - s < w < d + s for w, d, s in zip(wanted, default, steps, strict=True)):
        fail(
            ArgumentError,
            f"{name}: output_size={wanted} is further than a step {steps} from {default}",
            "give the size that was pooled",
        )
    return wanted


def _check_inside(name: str, indices: Tensor, places: int, sizes: Shape) -> None:
    def refuse(values: Any) -> NoReturn:
        fail(
            AxisError,
            f"{name}: {out_of(values, 0, 'an index', 'index')} lies outside of sizes {sizes}",
            "give the indices of the pooling, and its kernel_size, stride and padding",
        )

    check_range(indices, 0, places - 1, refuse)
