"""Types of values, and all shape arithmetic, so that symbolic sizes can come in one place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracec.errors import AxisError, ShapeError
from tracec.ir.dtype import DType

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, shape and device of a value.

    Attributes:
        dtype: Element type.
        shape: Sizes; ``()`` is a scalar.
        device: ``cpu`` or ``cuda:N``.
    """

    dtype: DType
    shape: Shape
    device: str = "cpu"

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return numel(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def with_shape(self, shape: Iterable[int]) -> TensorType:
        return TensorType(self.dtype, tuple(shape), self.device)

    def with_dtype(self, dtype: DType) -> TensorType:
        return TensorType(dtype, self.shape, self.device)

    def __str__(self) -> str:
        at = "" if self.device == "cpu" else f"@{self.device}"
        return f"{self.dtype.short}[{','.join(map(str, self.shape))}]{at}"


def numel(shape: Iterable[int]) -> int:
    """Number of elements of a shape."""
    return math.prod(shape)


def contiguous_strides(shape: Sequence[int]) -> Shape:
    """Row-major strides, in elements."""
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def normalize_axis(axis: int, ndim: int) -> int:
    """An axis counted from the front.

    Raises:
        AxisError: axis is not in ``[-ndim, ndim)`` (a scalar takes -1 and 0).
    """
    bound = max(ndim, 1)
    if not -bound <= axis < bound:
        raise AxisError(
            f"axis {axis} is out of range for a tensor of {ndim} dimensions",
            hint=f"use an axis from {-bound} to {bound - 1}",
        )
    return axis % bound


def same(a: Shape, b: Shape) -> bool:
    """Whether two shapes are equal; sizes of shapes of different lengths are not compared."""
    return len(a) == len(b) and a == b


def broadcast_shapes(*shapes: Shape) -> Shape:
    """The shape that all of these broadcast to, by NumPy's rules.

    Raises:
        ShapeError: two sizes of an axis differ and neither is 1.
    """
    first = shapes[0]
    if all(same(s, first) for s in shapes[1:]):
        return first
    ndim = max(map(len, shapes))
    result: list[int] = []
    for axis in range(-ndim, 0):
        size = 1
        for shape in shapes:
            this = shape[axis] if len(shape) >= -axis else 1
            if this == 1 or this == size:
                continue
            if size != 1:
                raise ShapeError(
                    f"shapes {' and '.join(map(str, shapes))} do not broadcast (axis {axis + ndim}: {size} vs {this})",
                    hint="reshape or slice one operand",
                )
            size = this
        result.append(size)
    return tuple(result)


def broadcast_axes(shape: Shape, target: Shape) -> tuple[Shape, Shape]:
    """Axes of ``target`` that ``shape`` lacks, and axes where it has size 1 and the target has not."""
    lead = len(target) - len(shape)
    stretched = tuple(lead + i for i, size in enumerate(shape) if size == 1 and target[lead + i] != 1)
    return tuple(range(lead)), stretched


def resolve_reshape(shape: Shape, target: Sequence[int]) -> Shape:
    """``target`` with its -1, if any, worked out.

    Raises:
        ShapeError: the sizes do not hold the same number of elements.
    """
    sizes = tuple([s.__index__() for s in target])
    total, unknown = numel(shape), sizes.count(-1)
    fits = unknown <= 1 and not [s for s in sizes if s < -1]  # not by `min`, which compares sizes with each other
    if fits and unknown:
        known = numel([s for s in sizes if s != -1])
        fits = known > 0 and total % known == 0
        if fits:
            sizes = tuple([total // known if s == -1 else s for s in sizes])
    if not fits or numel(sizes) != total:
        raise ShapeError(
            f"shape {shape} with {total} elements does not reshape to {tuple(target)}",
            hint="the product of the sizes must stay the same; at most one size may be -1",
        )
    return sizes
