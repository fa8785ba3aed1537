"""Functions that give elements other places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, AxisError, ShapeError, TracecError
from tracec.functions.common import (
    check_tensor,
    expanded,
    fail,
    integers,
    many_axes,
    one_axis,
    reshaped,
    sizes_of,
)
from tracec.ir.types import Shape, broadcast_shapes, resolve_reshape
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def _shape_of(name: str, x: Tensor, shape: Sequence[Any]) -> Shape:
    given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else tuple(shape)
    try:
        return resolve_reshape(tuple(x.shape), integers(name, given, "shape"))
    except ShapeError as error:
        fail(ShapeError, f"{name}: {error.message}", error.hint or "")


@tensor_method
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The elements in row-major order in another shape, one of whose sizes may be -1."""
    check_tensor("reshape", input)
    return ops.reshape(input, shape=_shape_of("reshape", input, shape))


@tensor_method
def view(input: Tensor, *shape: Any) -> Tensor:
    """The same elements in another shape, in the same memory.

    Raises:
        ShapeError: the sizes do not hold the same number of elements, or the elements do not lie in memory
            in an order that the shape could look at.
    """
    check_tensor("view", input)
    sizes = _shape_of("view", input, shape)
    result = ops.reshape(input, shape=sizes)
    if result._storage is not input._storage and not input.is_contiguous():
        fail(
            ShapeError,
            f"view: shape {sizes} does not fit the memory of a tensor of shape {tuple(input.shape)} and strides "
            f"{input.stride()}",
            "use reshape(), which copies where it must, or contiguous() first",
        )
    return result


@tensor_method
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to another tensor's shape."""
    return reshape(input, tuple(other.shape))


@tensor_method
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in another tensor's shape."""
    return view(input, tuple(other.shape))


@tensor_method
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim`` made one."""
    check_tensor("flatten", input)
    start, end = one_axis("flatten", start_dim, input.ndim), one_axis("flatten", end_dim, input.ndim)
    if start > end:
        fail(ArgumentError, f"flatten: start_dim={start_dim} comes after end_dim={end_dim}", "exchange them")
    shape = tuple(input.shape)
    if not shape:
        return ops.reshape(input, shape=(1,))
    return reshaped(input, shape[:start] + (math.prod(shape[start : end + 1]),) + shape[end + 1 :])


@tensor_method
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis made several; one of the sizes may be -1."""
    check_tensor("unflatten", input)
    axis, shape = one_axis("unflatten", dim, input.ndim), tuple(input.shape)
    try:
        parts = resolve_reshape(shape[axis : axis + 1], tuple(sizes))
    except ShapeError as error:
        fail(ShapeError, f"unflatten: {error.message}", error.hint or "")
    return reshaped(input, shape[:axis] + parts + shape[axis + 1 :])


@tensor_method
def ravel(input: Tensor) -> Tensor:
    """All elements in row-major order."""
    return reshape(input, -1)


@tensor_method
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 left out: all of them, or those named that have size 1."""
    check_tensor("squeeze", input)
    named = range(input.ndim) if dim is None else many_axes("squeeze", dim, input.ndim)
    shape = tuple(s for a, s in enumerate(input.shape) if s != 1 or a not in named)
    return ops.reshape(input, shape=shape)


@tensor_method
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """An axis of size 1 put in."""
    check_tensor("unsqueeze", input)
    axis, shape = one_axis("unsqueeze", dim, input.ndim + 1), tuple(input.shape)
    return ops.reshape(input, shape=shape[:axis] + (1,) + shape[axis:])


@tensor_method
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged."""
    check_tensor("transpose", input)
    a, b = one_axis("transpose", dim0, input.ndim), one_axis("transpose", dim1, input.ndim)
    perm = list(range(input.ndim))
    if perm:
        perm[a], perm[b] = b, a
    return ops.transpose(input, perm=tuple(perm))


swapaxes = tensor_method(name="swapaxes")(transpose)
swapdims = tensor_method(name="swapdims")(transpose)


@tensor_method
def t(input: Tensor) -> Tensor:
    """A matrix, transposed; a vector or a scalar as it is."""
    check_tensor("t", input)
    if input.ndim > 2:
        fail(ShapeError, f"t: takes up to 2 dimensions, shape {tuple(input.shape)} has {input.ndim}", "use transpose")
    return ops.transpose(input, perm=tuple(reversed(range(input.ndim))))


@tensor_method
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in another order."""
    check_tensor("permute", input)
    given = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    perm = tuple(one_axis("permute", d, input.ndim) for d in given)
    if sorted(perm) != list(range(input.ndim)):
        fail(
            ShapeError,
            f"permute: dims {tuple(given)} are not an order of the {input.ndim} axes of shape {tuple(input.shape)}",
            "name each axis once",
        )
    return ops.transpose(input, perm=perm)


@tensor_method
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes moved to other places, the others keeping their order."""
    check_tensor("movedim", input)
    sources = (source,) if isinstance(source, int) else tuple(source)
    targets = (destination,) if isinstance(destination, int) else tuple(destination)
    if len(sources) != len(targets):
        fail(ArgumentError, f"movedim: {len(sources)} axes for {len(targets)} places", "name as many of each")
    origin = [one_axis("movedim", s, input.ndim) for s in sources]
    place = dict(zip([one_axis("movedim", d, input.ndim) for d in targets], origin, strict=True))
    rest = iter(a for a in range(input.ndim) if a not in origin)
    return ops.transpose(input, perm=tuple(place[a] if a in place else next(rest) for a in range(input.ndim)))


moveaxis = tensor_method(name="moveaxis")(movedim)


@tensor_method
def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Axes of size 1, and new ones in front, repeated without copying; -1 keeps a size."""
    check_tensor("expand", input)
    given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
    given = integers("expand", given, "sizes")
    lead = len(given) - input.ndim
    shape = tuple(input.shape[i - lead] if s == -1 and i >= lead else s for i, s in enumerate(given))
    fits = lead >= 0 and all(s >= 0 for s in shape)
    if not fits or any(a not in (1, b) for a, b in zip(input.shape, shape[max(lead, 0) :], strict=True)):
        fail(
            ShapeError,
            f"expand: shape {tuple(input.shape)} does not expand to {tuple(given)}",
            "only axes of size 1, and new ones in front, can be repeated; -1 keeps a size",
        )
    return ops.expand(input, shape=shape)


@tensor_method
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to another tensor's shape."""
    return expand(input, tuple(other.shape))


@tensor_method
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """The tensor broadcast to a shape."""
    return expand(input, tuple(size))


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors broadcast to their common shape."""
    try:
        shape = broadcast_shapes(*(tuple(t.shape) for t in tensors))
    except TracecError as error:
        fail(ShapeError, f"broadcast_tensors: {error.message}", error.hint or "")
    return tuple(expanded(t, shape) for t in tensors)


@tensor_method
def repeat(input: Tensor, *repeats: Any) -> Tensor:
    """The whole tensor repeated along each axis; more counts than axes make new axes in front."""
    check_tensor("repeat", input)
    counts = sizes_of("repeat", repeats)
    if len(counts) < input.ndim:
        fail(ShapeError, f"repeat: {len(counts)} counts for {input.ndim} axes", "give a count for each axis")
    shape = (1,) * (len(counts) - input.ndim) + tuple(input.shape)
    apart = tuple(n for c, s in zip(counts, shape, strict=True) for n in (c, s))
    ones = tuple(n for s in shape for n in (1, s))
    whole = tuple(c * s for c, s in zip(counts, shape, strict=True))
    return reshaped(expanded(reshaped(input, ones), apart), whole)


@tensor_method
def tile(input: Tensor, *dims: Any) -> Tensor:
    """`repeat`, where missing counts are 1."""
    counts = sizes_of("tile", dims)
    return repeat(input, (1,) * (input.ndim - len(counts)) + counts)


@tensor_method
def repeat_interleave(input: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """Each element repeated, in place."""
    check_tensor("repeat_interleave", input)
    (repeats,) = integers("repeat_interleave", (repeats,), "repeats")
    if repeats < 0:
        fail(ArgumentError, f"repeat_interleave: repeats={repeats} is negative", "give 0 or more")
    x = reshaped(input, (input.numel(),)) if dim is None else input
    axis = one_axis("repeat_interleave", 0 if dim is None else dim, x.ndim)
    shape = tuple(x.shape)
    apart = shape[: axis + 1] + (repeats,) + shape[axis + 1 :]
    together = shape[:axis] + (shape[axis] * repeats,) + shape[axis + 1 :]
    return reshaped(expanded(reshaped(x, shape[: axis + 1] + (1,) + shape[axis + 1 :]), apart), together)


@tensor_method
def flip(input: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse along some axes."""
    check_tensor("flip", input)
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    axes = many_axes("flip", given, input.ndim) if given else ()
    return ops.flip(input, axes=axes) if axes else input


@tensor_method
def fliplr(input: Tensor) -> Tensor:
    """Columns in reverse."""
    return flip(input, 1)


@tensor_method
def flipud(input: Tensor) -> Tensor:
    """Rows in reverse."""
    return flip(input, 0)


@tensor_method
def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by 90 degrees k times, from the first of two axes to the second."""
    a, b = dims
    turns = k % 4
    if turns == 0:
        return input
    if turns == 2:
        return flip(input, (a, b))
    return flip(transpose(input, a, b), a) if turns == 1 else flip(transpose(input, a, b), b)


@tensor_method
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved along axes, those pushed out coming in at the other end."""
    if dims is None:
        flat = reshaped(input, (input.numel(),))
        return reshaped(roll(flat, shifts, 0), tuple(input.shape))
    by = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    if len(by) != len(axes):
        fail(ArgumentError, f"roll: {len(by)} shifts for {len(axes)} axes", "give one for each")
    for amount, dim in zip(by, axes, strict=True):
        axis = one_axis("roll", dim, input.ndim)
        size = input.shape[axis]
        cut = size - amount % size if size else 0
        if cut not in (0, size):
            input = ops.concatenate(narrow(input, axis, cut, size - cut), narrow(input, axis, 0, cut), axis=axis)
    return input


@tensor_method
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A stretch of an axis."""
    check_tensor("narrow", input)
    axis = one_axis("narrow", dim, input.ndim)
    size = input.shape[axis]
    first = start + size if start < 0 else start
    if not 0 <= first <= size or length < 0 or first + length > size:
        fail(
            AxisError, f"narrow: {start} to {start + length} does not lie in axis {axis} of size {size}", "stay inside"
        )
    return between(input, axis, first, first + length)


def between(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """A stretch of one axis, known to lie inside."""
    starts, stops, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], stops[axis], steps[axis] = start, stop, step
    return ops.slice(x, starts=tuple(starts), stops=tuple(stops), steps=tuple(steps))


@tensor_method
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """One position of an axis, the axis left out."""
    check_tensor("select", input)
    axis = one_axis("select", dim, input.ndim)
    size = input.shape[axis]
    if not -size <= index < size:
        fail(AxisError, f"select: index {index} is out of range for axis {axis} of size {size}", "stay inside")
    at = index % size
    return reshaped(between(input, axis, at, at + 1), tuple(s for a, s in enumerate(input.shape) if a != axis))
