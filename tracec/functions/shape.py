"""Views: the same elements in another shape, in another order of axes, or some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, ShapeError, TracecError
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
from tracec.ir import types
from tracec.ir.dtype import DType
from tracec.ir.types import Shape, resolve_reshape
from tracec.record.method import tensor_method
from tracec.record.tensor import Size, Tensor


def given_as(name: str, word: str, listed: tuple[Any, ...], named: Any) -> tuple[Any, ...]:
    """Arguments given one by one or as one sequence, or the sequence given by name."""
    if named is None:
        return listed
    if listed:
        fail(ArgumentTypeError, f"{name}: got multiple values for argument {word!r}", "give them once")
    return (named,)


def _shape_of(name: str, x: Tensor, shape: Sequence[Any]) -> Shape:
    given = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else tuple(shape)
    own = x._shape
    known = _INTEGERS.issuperset(map(type, (*own, *given)))
    if known and (found := _SHAPES.get((own, given))) is not None:
        return found
    try:
        found = resolve_reshape(own, integers(name, given, "shape"))
    except ShapeError as error:
        fail(ShapeError, f"{name}: {error.message}", error.hint or "")
    if known:
        if len(_SHAPES) >= _MOST_SHAPES:
            _SHAPES.clear()
        _SHAPES[own, given] = found
    return found


_INTEGERS = frozenset({int})
#: Shapes that were worked out: what a reshape has, and what it is asked for.
_SHAPES: dict[tuple[Shape, tuple[Any, ...]], Shape] = {}
_MOST_SHAPES = 4096


@tensor_method
def reshape(input: Tensor, *sizes: Any, shape: Sequence[int] | None = None) -> Tensor:
    """The elements in row-major order in another shape, one of whose sizes may be -1."""
    check_tensor("reshape", input)
    return ops.reshape(input, shape=_shape_of("reshape", input, given_as("reshape", "shape", sizes, shape)))


@tensor_method
def view(input: Tensor, *shape: Any, size: Sequence[int] | None = None, dtype: DType | None = None) -> Tensor:
    """The same elements in another shape, or their bits as another element type, in the same memory.

    Args:
        input: Any tensor.
        *shape: Sizes, one of which may be -1; or an element type.
        size: The sizes by name.
        dtype: The element type by name. Where its elements are larger or smaller, the last axis shrinks or grows.

    Raises:
        ShapeError: the sizes do not hold the same number of elements, or the elements do not lie in memory
            in an order that the shape could look at.
    """
    check_tensor("view", input)
    given = given_as("view", "size", shape, size)
    if dtype is None and len(given) == 1 and isinstance(given[0], DType):
        dtype = given[0]
    if dtype is not None:
        return _bits(input, dtype)
    sizes = _shape_of("view", input, given)
    result = ops.reshape(input, shape=sizes)
    if result._storage is not input._storage and not input.is_contiguous():
        fail(
            ShapeError,
            f"view: shape {sizes} does not fit the memory of a tensor of shape {tuple(input.shape)} and strides "
            f"{input.stride()}",
            "use reshape(), which copies where it must, or contiguous() first",
        )
    return result


def _bits(x: Tensor, dtype: DType) -> Tensor:
    if dtype is x.dtype:
        return ops.reshape(x.detach(), shape=tuple(x.shape))
    if dtype.itemsize != x.dtype.itemsize and x.ndim and x.numel() and x.stride(-1) != 1:
        fail(
            ShapeError,
            f"view: self.stride(-1) must be 1 to view {x.dtype.name} as {dtype.name} (different element sizes), but "
            f"got {x.stride(-1)}",
            "use contiguous() first",
        )
    return ops.view_bits(x.detach(), dtype=dtype)


@tensor_method
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to another tensor's shape."""
    check_tensor("reshape_as", other, "other")
    return reshape(input, tuple(other.shape))


@tensor_method
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` in another tensor's shape."""
    check_tensor("view_as", other, "other")
    return view(input, tuple(other.shape))


@tensor_method
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim`` made one.

    Raises:
        ArgumentError: the first axis comes after the last.
    """
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
    """One axis made several; one of the sizes may be -1.

    Raises:
        ShapeError: the product of the sizes is not the size of the axis.
    """
    check_tensor("unflatten", input)
    axis, shape = one_axis("unflatten", dim, input.ndim), tuple(input.shape)
    try:
        parts = resolve_reshape(shape[axis : axis + 1], integers("unflatten", sizes, "sizes"))
    except ShapeError as error:
        fail(ShapeError, f"unflatten: {error.message}", error.hint or "")
    return reshaped(input, shape[:axis] + parts + shape[axis + 1 :])


@tensor_method
def ravel(input: Tensor) -> Tensor:
    """All elements in row-major order: a view where they lie in memory like that without gaps, else a copy."""
    return reshape(input.contiguous(), -1)


@tensor_method
def squeeze(input: Tensor, *axes: Any, dim: int | Sequence[int] | None = None) -> Tensor:
    """Axes of size 1 left out: all of them, or those named that have size 1.

    Args:
        input: Any tensor.
        *axes: The axes, one after the other or as one tuple.
        dim: The same by name.

    Returns:
        A view.
    """
    check_tensor("squeeze", input)
    given = given_as("squeeze", "dim", axes, dim)
    listed = given[0] if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
    named: Any = range(input.ndim) if not given else many_axes("squeeze", listed, input.ndim) if listed else ()
    shape = tuple(s for a, s in enumerate(input.shape) if s != 1 or a not in named)
    return ops.reshape(input, shape=shape)


@tensor_method
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """An axis of size 1 put in.

    Args:
        input: Any tensor.
        dim: Where it goes, from ``-ndim - 1`` to ``ndim``.

    Returns:
        A view.
    """
    check_tensor("unsqueeze", input)
    axis, shape = one_axis("unsqueeze", dim, input.ndim + 1), tuple(input.shape)
    return ops.reshape(input, shape=shape[:axis] + (1,) + shape[axis:])


@tensor_method
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two axes exchanged.

    Args:
        input: Any tensor.
        dim0: One axis.
        dim1: The other.

    Returns:
        A view.
    """
    check_tensor("transpose", input)
    a, b = one_axis("transpose", dim0, input.ndim), one_axis("transpose", dim1, input.ndim)
    perm = list(range(input.ndim))
    if perm:
        perm[a], perm[b] = b, a
    return ops.transpose(input, perm=tuple(perm))


@tensor_method
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Two axes exchanged: `transpose` by NumPy's name."""
    return transpose(input, axis0, axis1)


swapdims = tensor_method(name="swapdims")(transpose)


@tensor_method
def t(input: Tensor) -> Tensor:
    """A matrix, transposed; a vector or a scalar as it is.

    Raises:
        ShapeError: the input has more than two axes.
    """
    check_tensor("t", input)
    if input.ndim > 2:
        fail(ShapeError, f"t: takes up to 2 dimensions, shape {tuple(input.shape)} has {input.ndim}", "use transpose")
    return ops.transpose(input, perm=tuple(reversed(range(input.ndim))))


@tensor_method
def permute(input: Tensor, *order: Any, dims: Sequence[int] | None = None) -> Tensor:
    """The axes in another order.

    Args:
        input: Any tensor.
        *order: For each axis of the result the axis of the input, one after the other or as one tuple.
        dims: The same by name.

    Returns:
        A view.

    Raises:
        ShapeError: not every axis is named once.
    """
    check_tensor("permute", input)
    given = given_as("permute", "dims", order, dims)
    given = tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
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
    """Axes moved to other places, the others keeping their order.

    Raises:
        ArgumentError: there is not one place for each axis, or one is named twice.
    """
    check_tensor("movedim", input)
    sources, targets = (d if isinstance(d, (list, tuple)) else (d,) for d in (source, destination))
    if len(sources) != len(targets):
        fail(ArgumentError, f"movedim: {len(sources)} axes for {len(targets)} places", "name as many of each")
    origin = [one_axis("movedim", s, input.ndim) for s in sources]
    place = dict(zip([one_axis("movedim", d, input.ndim) for d in targets], origin, strict=True))
    if len(place) != len(targets) or len(set(origin)) != len(origin):
        fail(
            ArgumentError,
            f"movedim: repeated dim in source {tuple(sources)} or destination {tuple(targets)}",
            "name each axis and each place once",
        )
    rest = iter(a for a in range(input.ndim) if a not in origin)
    return ops.transpose(input, perm=tuple(place[a] if a in place else next(rest) for a in range(input.ndim)))


moveaxis = tensor_method(name="moveaxis")(movedim)


@tensor_method
def expand(input: Tensor, *sizes: Any, size: Sequence[int] | None = None, implicit: bool = False) -> Tensor:
    """Axes of size 1, and new ones in front, repeated without copying; -1 keeps a size.

    Args:
        input: Any tensor.
        *sizes: Sizes, one by one or as one sequence.
        size: The sizes by name.
        implicit: Has no effect here; PyTorch's compiler sets it.

    Raises:
        ShapeError: another axis than those of size 1 would be repeated.
    """
    check_tensor("expand", input)
    given = given_as("expand", "size", sizes, size)
    given = tuple(given[0]) if len(given) == 1 and isinstance(given[0], (tuple, list)) else given
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
    check_tensor("expand_as", other, "other")
    return expand(input, tuple(other.shape))


@tensor_method
def broadcast_to(input: Tensor, *sizes: Any, size: Sequence[int] | None = None) -> Tensor:
    """The tensor broadcast to a shape."""
    check_tensor("broadcast_to", input)
    return expand(input, *given_as("broadcast_to", "size", sizes, size))


def broadcast_shapes(*shapes: int | Sequence[int]) -> Size:
    """The shape that shapes broadcast to; an integer is a shape of one axis.

    Raises:
        ArgumentError: a size is negative.
        ShapeError: the shapes do not broadcast.
    """
    given = [integers("broadcast_shapes", (s,) if hasattr(s, "__index__") else s, "shapes") for s in shapes]
    if any(n < 0 for shape in given for n in shape):
        fail(ArgumentError, f"broadcast_shapes: shapes {given} have a negative size", "sizes are 0 or more")
    try:
        return Size(types.broadcast_shapes(*given))
    except TracecError as error:
        fail(ShapeError, f"broadcast_shapes: {error.message}", error.hint or "")


@tensor_method
def sum_to_size(input: Tensor, *sizes: Any, size: Sequence[int] | None = None) -> Tensor:
    """The sum over what a tensor of some shape would be repeated along to get to this one's.

    Raises:
        ShapeError: a tensor of that shape would not broadcast to the input's.
    """
    check_tensor("sum_to_size", input)
    shape = sizes_of("sum_to_size", given_as("sum_to_size", "size", sizes, size))
    lead = input.ndim - len(shape)
    if lead < 0 or any(s not in (1, n) for s, n in zip(shape, input.shape[lead:], strict=True)):
        fail(
            ShapeError,
            f"sum_to_size: size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}",
            "each size is that of the tensor, or 1",
        )
    axes = [*range(lead), *(lead + a for a, s in enumerate(shape) if s == 1 and input.shape[lead + a] != 1)]
    return reshaped(ops.sum(input, axes=tuple(axes)), shape) if axes else input


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """All tensors broadcast to their common shape.

    Raises:
        ShapeError: they have none.
    """
    for k, t in enumerate(tensors):
        check_tensor("broadcast_tensors", t, f"tensors[{k}]")
    try:
        shape = types.broadcast_shapes(*(tuple(t.shape) for t in tensors))
    except TracecError as error:
        fail(ShapeError, f"broadcast_tensors: {error.message}", error.hint or "")
    return tuple(expanded(t, shape) for t in tensors)


@tensor_method
def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """A stretch of an axis; where it begins may be counted from the end.

    Args:
        input: Any tensor.
        dim: The axis; counted from the end where negative.
        start: Where it begins.
        length: How long it is.

    Returns:
        A view.

    Raises:
        AxisError: the stretch does not lie in the axis.
        ShapeError: the input has no axes.
    """
    check_tensor("narrow", input)
    if not input.ndim:
        fail(ShapeError, "narrow: cannot be applied to a 0-dim tensor.", "a tensor of no dimensions has no stretches")
    axis = one_axis("narrow", dim, input.ndim)
    start, length = integers("narrow", (start, length), "start and length")
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
    """One position of an axis, the axis left out.

    Raises:
        AxisError: the position is not on the axis, or the input has no axes.
    """
    check_tensor("select", input)
    if not input.ndim:
        fail(AxisError, "select: cannot be applied to a 0-dim tensor.", "use item()")
    axis = one_axis("select", dim, input.ndim)
    (index,) = integers("select", (index,), "index")
    size = input.shape[axis]
    if not -size <= index < size:
        fail(AxisError, f"select: index {index} is out of range for axis {axis} of size {size}", "stay inside")
    at = index % size
    return reshaped(between(input, axis, at, at + 1), tuple(s for a, s in enumerate(input.shape) if a != axis))
