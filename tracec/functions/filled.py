"""New tensors of one value, of given sizes or in the form of another tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError
from tracec.functions.common import Number, check_number, check_tensor, fail, integers, sizes_of
from tracec.functions.creation import dtype_of_number, wrapped
from tracec.functions.options import LikeOptions, Options, OutOptions, SizeOptions, create, sizes_given
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.backend import Device, module, on
from tracec.record.create import of_numbers, zeros_at_once
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def _filled(name: str, value: Number, shape: Shape, options: Any, takes: Any = SizeOptions, **default: Any) -> Tensor:
    return create(
        name,
        options,
        lambda dtype, device: _of_one_value(wrapped(value, dtype), shape, dtype, device),
        takes=takes,
        **default,
    )


def _of_one_value(value: Number, shape: Shape, dtype: DType, device: Device) -> Tensor:
    found = zeros_at_once(shape, dtype) if device == "cpu" else None
    if found is None:
        made: Tensor = ops.full(value, shape, dtype, str(device))
        return made
    if value:
        found._array.fill(value)  # nobody has seen it yet
    return found


def _number(name: str, value: Any) -> Number:
    check_number(name, value, "fill_value")
    found: Number = value.item() if isinstance(value, (Tensor, np.generic)) else value
    return found


# Of given sizes ---------------------------------------------------------------------------------------


def full(size: Sequence[int], fill_value: Number, **options: Unpack[OutOptions]) -> Tensor:
    """One value everywhere; the element type is that of the value where none is given.

    Args:
        size: Sizes of the result.
        fill_value: A number, or a tensor of one element.
        **options: ``dtype``, ``device``, ``requires_grad`` and ``out``.

    Raises:
        ArgumentTypeError: the size is no tuple or list.
    """
    value = _number("full", fill_value)
    if not isinstance(size, (tuple, list)):
        fail(ArgumentTypeError, f"full: size must be a sequence, {type(size).__name__} given", "e.g. full((2, 3), 1)")
    shape = sizes_of("full", (size,))
    return _filled("full", value, shape, options, OutOptions, dtype=dtype_of_number(value))


def zeros(*sizes: Any, **options: Unpack[SizeOptions]) -> Tensor:
    """A tensor of zeros.

    Args:
        *sizes: Sizes of the result, one after the other or as one tuple or list; none for a scalar.
        **options: ``dtype``, by default that of new tensors; ``device``; ``requires_grad``; ``out``, which is written
            to; ``pin_memory``; ``layout``, which can only be ``strided``.
    """
    return _filled("zeros", 0, sizes_of("zeros", sizes_given("zeros", sizes, options)), options)


def ones(*sizes: Any, **options: Unpack[SizeOptions]) -> Tensor:
    """A tensor of ones.

    Args:
        *sizes: Sizes of the result, one after the other or as one tuple or list; none for a scalar.
        **options: ``dtype``, by default that of new tensors; ``device``; ``requires_grad``; ``out``, which is written
            to; ``pin_memory``; ``layout``, which can only be ``strided``.
    """
    return _filled("ones", 1, sizes_of("ones", sizes_given("ones", sizes, options)), options)


class EmptyOptions(SizeOptions, LikeOptions, total=False):
    """Options of `empty`."""


def empty(*sizes: Any, **options: Unpack[EmptyOptions]) -> Tensor:
    """Elements that are to be written before they are read; they are zeros.

    Args:
        *sizes: Sizes of the result, one after the other or as one tuple or list; none for a scalar.
        **options: ``dtype``, by default that of new tensors; ``device``; ``requires_grad``; ``out``, which is written
            to; ``pin_memory``; ``layout``, which can only be ``strided``; ``memory_format``.
    """
    return _filled("empty", 0, sizes_of("empty", sizes_given("empty", sizes, options)), options, EmptyOptions)


def empty_strided(size: Sequence[int], stride: Sequence[int], **options: Unpack[Options]) -> Tensor:
    """`empty` with given steps between neighbours along each axis, in elements."""
    return _strided("empty_strided", size, stride, options)


def _strided(name: str, size: Sequence[int], stride: Sequence[int], options: Any, **default: Any) -> Tensor:
    shape, steps = sizes_of(name, (size,)), integers(name, stride, "stride")
    if len(shape) != len(steps) or any(step < 0 for step in steps):
        fail(ArgumentError, f"{name}: stride {steps} does not fit size {shape}", "give one step, 0 or more, per axis")
    extent = 0 if 0 in shape else 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))

    def make(dtype: Any, device: Any) -> Tensor:
        xp, item = module(device), dtype.itemsize
        with on(device):
            flat = xp.zeros(extent, dtype.numpy)
            return of_numbers(xp.lib.stride_tricks.as_strided(flat, shape, tuple(step * item for step in steps)))

    return create(name, options, make, takes=Options, **default)


# In the form of another tensor ------------------------------------------------------------------------


def _like(name: str, input: Tensor, value: Number, options: Any) -> Tensor:
    check_tensor(name, input)
    return _filled(name, value, tuple(input.shape), options, LikeOptions, dtype=input.dtype, device=input.device)


def full_like(input: Tensor, fill_value: Number, **options: Unpack[LikeOptions]) -> Tensor:
    """One value in the shape, dtype and device of a tensor.

    Args:
        input: Whose shape, dtype and device the result has.
        fill_value: A number, or a tensor of one element.
        **options: ``dtype``, ``device`` and others that are to differ.
    """
    return _like("full_like", input, _number("full_like", fill_value), options)


def zeros_like(input: Tensor, **options: Unpack[LikeOptions]) -> Tensor:
    """Zeros in the shape, dtype and device of a tensor."""
    return _like("zeros_like", input, 0, options)


def ones_like(input: Tensor, **options: Unpack[LikeOptions]) -> Tensor:
    """Ones in the shape, dtype and device of a tensor."""
    return _like("ones_like", input, 1, options)


def empty_like(input: Tensor, **options: Unpack[LikeOptions]) -> Tensor:
    """`empty` in the shape, dtype and device of a tensor."""
    return _like("empty_like", input, 0, options)


class NewOptions(Options, total=False):
    """Options of the methods ``new_*``: the element type and the device are the tensor's by default."""

    size: Any


def _new(name: str, input: Tensor, value: Number, size: tuple[Any, ...], options: Any) -> Tensor:
    check_tensor(name, input)
    shape = sizes_of(name, sizes_given(name, size, options))
    return _filled(name, value, shape, options, NewOptions, dtype=input.dtype, device=input.device)


@tensor_method
def new_zeros(input: Tensor, *sizes: Any, **options: Unpack[NewOptions]) -> Tensor:
    """Zeros of given sizes, in the dtype and on the device of a tensor."""
    return _new("new_zeros", input, 0, sizes, options)


@tensor_method
def new_ones(input: Tensor, *sizes: Any, **options: Unpack[NewOptions]) -> Tensor:
    """Ones of given sizes, in the dtype and on the device of a tensor."""
    return _new("new_ones", input, 1, sizes, options)


@tensor_method
def new_empty(input: Tensor, *sizes: Any, **options: Unpack[NewOptions]) -> Tensor:
    """`empty` of given sizes, in the dtype and on the device of a tensor."""
    return _new("new_empty", input, 0, sizes, options)


@tensor_method
def new_full(input: Tensor, size: Sequence[int], fill_value: Number, **options: Unpack[Options]) -> Tensor:
    """One value in given sizes, in the dtype and on the device of a tensor."""
    return _new("new_full", input, _number("new_full", fill_value), (size,), options)


@tensor_method
def new_empty_strided(input: Tensor, size: Sequence[int], stride: Sequence[int], **options: Unpack[Options]) -> Tensor:
    """`empty_strided` in the dtype and on the device of a tensor."""
    check_tensor("new_empty_strided", input)
    return _strided("new_empty_strided", size, stride, options, dtype=input.dtype, device=input.device)


def fill(input: Tensor, value: Number | Tensor) -> Tensor:
    """A copy of a tensor with one value, a number or a tensor without axes, everywhere; gradients flow to the value."""
    check_tensor("fill", input)
    return input.clone().fill_(value)
