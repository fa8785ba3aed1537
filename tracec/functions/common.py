"""What the functions share: checks of arguments, whose errors name the function and the user's line."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tracec import ops
from tracec.errors import (
    ArgumentError,
    ArgumentTypeError,
    AxisError,
    DTypeError,
    OutOfMemoryError,
    ShapeError,
    TracecError,
)
from tracec.ir import dtype as dt
from tracec.ir import types
from tracec.ir.dtype import DType
from tracec.ir.types import Shape
from tracec.record.backend import to_device
from tracec.record.cell import is_dual
from tracec.record.create import of_numbers
from tracec.record.opaque import unwrapped
from tracec.record.tensor import Tensor

Scalar = bool | int | float
Number = Scalar | complex


def fail(error: type[TracecError], message: str, hint: str) -> NoReturn:
    """Raise an error; it finds the user's line by itself."""
    raise error(message, hint=hint) from None


def check_tensor(name: str, x: Any, what: str = "input") -> None:
    """Refuse what is not a tensor."""
    if not isinstance(x, Tensor):
        fail(
            ArgumentTypeError,
            f"{name}: {what} must be a tensor, {type(x).__name__} given",
            "make one with tracec.tensor(...)",
        )


def check_floating(name: str, x: Tensor, what: str = "input") -> None:
    """Refuse tensors whose elements are not floats."""
    check_tensor(name, x, what)
    if not x.dtype.is_floating_point:
        fail(DTypeError, f"{name}: takes floats, {what} is {x.dtype.name}", "cast it with .float() first")


def check_inexact(name: str, x: Tensor, what: str = "input") -> None:
    """Refuse tensors whose elements are neither floats nor complex numbers."""
    check_tensor(name, x, what)
    if not x.dtype.is_differentiable:
        fail(
            DTypeError,
            f"{name}: takes floats and complex numbers, {what} is {x.dtype.name}",
            "cast it with .float() first",
        )


def check_ndim(name: str, x: Tensor, allowed: Sequence[int], layout: str, what: str = "input") -> None:
    """Refuse tensors that have another number of dimensions."""
    check_tensor(name, x, what)
    if x.ndim not in allowed:
        dims = " or ".join(map(str, allowed))
        fail(
            ShapeError,
            f"{name}: {what} of shape {tuple(x.shape)} has {x.ndim} dimensions, not {dims}",
            f"the {what} is {layout}",
        )


def one_axis(name: str, dim: Any, ndim: int) -> int:
    """An axis counted from the front."""
    if type(dim) is int and -ndim <= dim < ndim:
        return dim if dim >= 0 else dim + ndim
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        fail(ArgumentTypeError, f"{name}: dim must be an integer, {type(dim).__name__} given", "name an axis by number")
    try:
        return types.normalize_axis(dim.__index__(), ndim)
    except TracecError as error:
        fail(AxisError, f"{name}: {error.message}", error.hint or "")


def many_axes(name: str, dim: int | Iterable[int] | None, ndim: int) -> Shape:
    """Sorted, distinct axes counted from the front; None and () mean all of them."""
    if dim is None:
        return tuple(range(ndim))
    if type(dim) is int:
        return (one_axis(name, dim, ndim),) if ndim else many_axes(name, (dim,), ndim)
    given = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if not given:
        return tuple(range(ndim))
    found = [one_axis(name, d, ndim) for d in given]
    if len(set(found)) != len(found):
        fail(ShapeError, f"{name}: dim={given} names an axis twice", "name each axis once")
    return tuple(sorted(found)) if ndim else ()


def sizes_of(name: str, size: Sequence[Any]) -> Shape:
    """Sizes given one by one or as one sequence, as a tuple of non-negative integers."""
    given = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list)) else tuple(size)
    found = integers(name, given, "size")
    if any(s < 0 for s in found):
        fail(ShapeError, f"{name}: size {found} has a negative size", "sizes are 0 or more")
    return found


def integers(name: str, values: Iterable[Any], what: str) -> Shape:
    """The values as Python integers."""
    if type(values) is not tuple and (not isinstance(values, Iterable) or isinstance(values, (str, bytes))):
        fail(
            ArgumentTypeError, f"{name}: {what} must be integers, {type(values).__name__} given", f"give {what} as int"
        )
    found = []
    for v in values:
        if type(v) is int:
            found.append(v)
            continue
        if not hasattr(v, "__index__"):
            fail(ArgumentTypeError, f"{name}: {what} must be integers, {type(v).__name__} given", f"give {what} as int")
        found.append(unwrapped(v).__index__())
    return tuple(found)


def one_integer(name: str, value: Any, what: str) -> int:
    """The value as a Python integer."""
    (found,) = integers(name, (value,), what)
    return found


def per_axis(name: str, value: Any, n: int, what: str) -> Shape:
    """A window's parameter: one integer for all spatial axes, or one for each."""
    single = isinstance(value, int) and not isinstance(value, bool)
    given = (int(value),) * n if single else integers(name, value, what)
    if len(given) == 1 and n > 1:
        given *= n
    if len(given) != n:
        fail(ArgumentError, f"{name}: {what}={value} does not fit {n} spatial axes", f"give one integer or {n}")
    return given


@cache
def _memory_of_machine() -> int:
    """Bytes of memory that the machine has, or that the process may have of them; a lot where nobody tells."""
    found = [1 << 62]
    try:
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (AttributeError, OSError, ValueError):  # not every system tells, and a limit may be "max"
        pass
    return min(n for n in found if n > 0)


def check_room(name: str, nbytes: int) -> None:
    """Refuse what takes more memory than the machine has, where Python would go on for long before it fails.

    Raises:
        OutOfMemoryError: it does.
    """
    if nbytes > _memory_of_machine():
        fail(OutOfMemoryError, f"{name}: no memory for {nbytes} bytes", "use smaller sizes")


def check_choice(name: str, what: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a word that is not one of the choices."""
    if value not in choices:
        known = ", ".join(repr(c) for c in choices)
        fail(ArgumentError, f"{name}: {what}={value!r} is not known", f"use one of {known}")


def out_of(values: Any, least: int, unknown: str, what: str) -> str:
    """The integer that is out of a range, in words: the least where it is less than the range's, or the largest.

    Args:
        values: The integers, one of which is out of it; None where they are not at hand.
        least: The least that they may be.
        unknown: What is said then.
        what: What stands before the number.
    """
    if values is None:
        return unknown
    low = int(values.min())
    return f"{what} {low if low < least else int(values.max())}"


def check_flag(name: str, value: Any, what: str) -> None:
    """Refuse what is no bool: numbers and words stand for truth by accident."""
    if not isinstance(value, (bool, np.bool_)):
        fail(ArgumentTypeError, f"{name}: {what} must be bool, {type(value).__name__} given", "give True or False")


def check_probability(name: str, p: float) -> None:
    """Refuse what is no probability."""
    check_real(name, p, "p")
    if not 0.0 <= p <= 1.0:
        fail(ArgumentError, f"{name}: p={p} is not a probability", "give a number from 0 to 1")


def check_dtype(name: str, dtype: Any) -> None:
    """Refuse what is neither an element type nor None."""
    if dtype is not None and not isinstance(dtype, DType):
        fail(
            ArgumentTypeError,
            f"{name}: {dtype!r} of type {type(dtype).__name__} is no element type",
            "use e.g. tracec.float32",
        )


def check_number(name: str, value: Any, what: str) -> None:
    """Refuse what is not a number, or a tensor of one."""
    if not isinstance(value, (bool, int, float, complex, np.generic)) and not (
        isinstance(value, Tensor) and value.numel() == 1
    ):
        fail(ArgumentTypeError, f"{name}: {what} must be a number, {type(value).__name__} given", "give one number")


def check_real(name: str, value: Any, what: str) -> None:
    """Refuse what is not a real number, or a tensor of one."""
    check_number(name, value, what)
    if isinstance(value, (complex, np.complexfloating)):
        fail(ArgumentTypeError, f"{name}: {what} must be a real number, {value} given", "give its real part")


def is_differentiated(x: Tensor) -> bool:
    """Whether derivatives of what is computed from a tensor are wanted: gradients, or tangents."""
    return x.requires_grad or is_dual(x)


def cast(x: Tensor, dtype: DType | None) -> Tensor:
    """The tensor in that dtype; itself where it has it already, or where none is named."""
    return x if dtype is None or x.dtype is dtype else ops.cast(x, dtype=dtype)


def squares(x: Tensor) -> Tensor:
    """The squares of numbers; of complex ones those of their sizes."""
    if not x.dtype.is_complex:
        return ops.mul(x, x)
    parts = ops.view_as_real(x)
    return ops.sum(ops.mul(parts, parts), axes=(x.ndim,), keepdims=False)


def reshaped(x: Tensor, shape: Shape) -> Tensor:
    """The tensor in that shape; itself where it has it already."""
    return x if types.same(tuple(x.shape), shape) else ops.reshape(x, shape=shape)


def expanded(x: Tensor, shape: Shape) -> Tensor:
    """The tensor broadcast to that shape; itself where it has it already."""
    return x if types.same(tuple(x.shape), shape) else ops.expand(x, shape=shape)


def sliced(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """The elements from ``start`` to before ``stop`` along an axis; itself where that is all of them."""
    if start == 0 and stop == x.shape[axis]:
        return x
    starts, stops = [0] * x.ndim, list(x.shape)
    starts[axis], stops[axis] = start, stop
    return ops.slice(x, starts=tuple(starts), stops=tuple(stops), steps=(1,) * x.ndim)


def iota(shape: Shape, axis: int, dtype: DType, like: Tensor) -> Tensor:
    """Coordinates along an axis, on the device of ``like``."""
    return ops.iota(shape=shape, axis=axis, dtype=dtype, device=str(like.device))


def filled(value: Number, like: Tensor, shape: Shape | None = None, dtype: DType | None = None) -> Tensor:
    """One value everywhere, in the shape and dtype of ``like`` where not told otherwise."""
    return ops.full(value, tuple(like.shape) if shape is None else shape, dtype or like.dtype, str(like.device))


def table(values: Any, dtype: DType, like: Tensor) -> Tensor:
    """Numbers that depend on shapes and options alone, as a tensor on the device of ``like``.

    In a recorded function they are constants.

    Args:
        values: A NumPy array that nobody writes to later, or nested lists.
        dtype: Element type.
        like: Where this tensor is, they are.
    """
    return of_numbers(to_device(np.ascontiguousarray(values, dtype.numpy), like.device))


def identity(like: Tensor, size: int | None = None) -> Tensor:
    """Identity matrices with the leading axes, dtype and device of a stack of square ones, or of another size."""
    n = like.shape[-1] if size is None else size
    i, j = iota((n, 1), 0, dt.int64, like), iota((1, n), 1, dt.int64, like)
    return expanded(cast(ops.eq(i, j), like.dtype), (*like.shape[:-2], n, n))


def broadcast_matrices(name: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Square matrices and right-hand sides, with their leading axes broadcast.

    Raises:
        ShapeError: the leading axes do not broadcast, or the matrices and the right-hand sides differ in rows.
    """
    if a.shape[-1] != b.shape[-2]:
        fail(
            ShapeError,
            f"{name}: Incompatible shapes of A and B for the equation AX = B ({a.shape[-2]}x{a.shape[-1]} and "
            f"{b.shape[-2]}x{b.shape[-1]})",
            "a right-hand side has as many rows as the matrix",
        )
    try:
        lead = types.broadcast_shapes(tuple(a.shape[:-2]), tuple(b.shape[:-2]))
    except TracecError as error:
        fail(ShapeError, f"{name}: leading axes: {error.message}", "leading axes broadcast")
    return expanded(a, (*lead, *a.shape[-2:])), expanded(b, (*lead, *b.shape[-2:]))
