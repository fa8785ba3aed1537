"""The largest and smallest elements, and where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tracec import ops
from tracec.errors import AxisError
from tracec.functions.arithmetic import Operand
from tracec.functions.common import cast, check_tensor, fail, iota, is_differentiated, many_axes, one_axis, reshaped
from tracec.ir import dtype as dt
from tracec.record.method import tensor_method
from tracec.record.state import STATE
from tracec.record.tensor import Tensor

Axes = int | Sequence[int] | None


class ValuesIndices(NamedTuple):
    """Elements, and where they stand along the reduced axis."""

    values: Tensor
    indices: Tensor


class MinMax(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


@tensor_method
def amax(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The largest element over some axes; equal ones share the gradient.

    Args:
        input: Any real tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
    """
    check_tensor("amax", input)
    return ops.max(input, axes=many_axes("amax", dim, input.ndim), keepdims=keepdim)


@tensor_method
def amin(input: Tensor, dim: Axes = None, keepdim: bool = False) -> Tensor:
    """The smallest element over some axes; equal ones share the gradient.

    Args:
        input: Any real tensor.
        dim: Axes, one or several; all of them by default.
        keepdim: Keep the axes, with size 1.
    """
    check_tensor("amin", input)
    return ops.min(input, axes=many_axes("amin", dim, input.ndim), keepdims=keepdim)


@tensor_method
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False) -> MinMax:
    """The smallest and the largest element; equal ones share the gradient."""
    return MinMax(amin(input, dim, keepdim), amax(input, dim, keepdim))


@tensor_method
def max(
    input: Tensor, dim: Operand | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | ValuesIndices:
    """The largest element; with an axis, also where it stands; with a second tensor, the larger of two elements.

    Args:
        input: Any real tensor.
        dim: The axis; or the second tensor, as by PyTorch's signature.
        keepdim: Keep the axis, with size 1.
        other: The second tensor, which broadcasts with the input.

    Returns:
        A tensor; with an axis a named tuple of ``values`` and int64 ``indices``, of which the first one counts among
        equals.
    """
    check_tensor("max", input)
    if isinstance(dim, Tensor) or other is not None:
        return ops.maximum(input, dim if other is None else other)
    return _extreme("max", input, dim, keepdim)


@tensor_method
def min(
    input: Tensor, dim: Operand | None = None, keepdim: bool = False, *, other: Tensor | None = None
) -> Tensor | ValuesIndices:
    """The smallest element; with an axis, also where it stands; with a second tensor, the smaller of two elements.

    Args:
        input: Any real tensor.
        dim: The axis; or the second tensor, as by PyTorch's signature.
        keepdim: Keep the axis, with size 1.
        other: The second tensor, which broadcasts with the input.

    Returns:
        A tensor; with an axis a named tuple of ``values`` and int64 ``indices``, of which the first one counts among
        equals.
    """
    check_tensor("min", input)
    if isinstance(dim, Tensor) or other is not None:
        return ops.minimum(input, dim if other is None else other)
    return _extreme("min", input, dim, keepdim)


def _extreme(name: str, x: Tensor, dim: Operand | None, keepdim: bool) -> Tensor | ValuesIndices:
    op, where = (ops.max, ops.argmax) if name == "max" else (ops.min, ops.argmin)
    if dim is None:
        return op(x, axes=tuple(range(x.ndim)))
    axis = one_axis(name, dim, x.ndim)
    if not x.ndim:
        return ValuesIndices(op(x, axes=()), cast(ops.mul(x.detach(), 0), dt.int64))
    _check_not_empty(name, x, axis)
    at = where(x, axis=axis, keepdims=True)
    if is_differentiated(x):
        # The gradient goes to the first of equal elements.
        values = ops.sum(pick_along(x, at, axis), axes=(axis,), keepdims=keepdim)
    else:
        values = op(x, axes=(axis,), keepdims=keepdim)
    return ValuesIndices(values, at if keepdim else reshaped(at, tuple(values.shape)))


def pick_along(x: Tensor, at: Tensor, axis: int) -> Tensor:
    """The elements at one position of each line along an axis, and 0 at all others.

    Summed over the axis, it is a gather that fuses, in both directions, with what is around it.
    """
    # Eagerly one line of places is compared, which a kernel has no need of.
    shape = (
        tuple(x.shape) if STATE.recorder is not None else tuple(n if k == axis else 1 for k, n in enumerate(x.shape))
    )
    here = ops.eq(iota(shape, axis, dt.int64, x), at)
    return ops.where(here, x, 0.0 if x.dtype.is_floating_point else False if x.dtype.kind == "b" else 0)


@tensor_method
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest element stands: the first one along an axis, or in row-major order.

    Args:
        input: Any real tensor.
        dim: The axis; by default the elements count as one row.
        keepdim: Keep the axis, with size 1.

    Returns:
        int64.
    """
    return _arg("argmax", input, dim, keepdim)


@tensor_method
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest element stands: the first one along an axis, or in row-major order.

    Args:
        input: Any real tensor.
        dim: The axis; by default the elements count as one row.
        keepdim: Keep the axis, with size 1.

    Returns:
        int64.
    """
    return _arg("argmin", input, dim, keepdim)


def _arg(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    check_tensor(name, x)
    op = ops.argmax if name == "argmax" else ops.argmin
    if dim is None or not x.ndim:
        flat = reshaped(x, (x.numel(),))
        _check_not_empty(name, flat, 0)
        return reshaped(op(flat, axis=0, keepdims=False), (1,) * x.ndim if keepdim else ())
    axis = one_axis(name, dim, x.ndim)
    _check_not_empty(name, x, axis)
    return op(x, axis=axis, keepdims=keepdim)


def _check_not_empty(name: str, x: Tensor, axis: int) -> None:
    if not x.shape[axis]:
        fail(
            AxisError,
            f"{name}: shape {tuple(x.shape)} has nothing to choose from (axis {axis} has size 0)",
            "there is no such element",
        )
