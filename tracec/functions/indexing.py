"""Reading at computed positions."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import cast, check_tensor, expanded, fail, integers, iota, one_axis, reshaped, sliced
from tracec.functions.positions import along_axis, check_positions, check_vector, coordinates, wrapped
from tracec.functions.scattering import check_mask, common_shape
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.record.indexing import nonzero_positions
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


@tensor_method
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Elements of an axis, each place choosing its own: ``out[i][j] = input[index[i][j]][j]`` for axis 0.

    Args:
        input: Any tensor.
        dim: The axis.
        index: Positions on the axis, int64 or int32; no larger than the input but along ``dim``.
        sparse_grad: Has no effect: gradients are dense.

    Raises:
        AxisError: an index is out of range.
        ShapeError: the index does not fit the input.
    """
    x, axis, at = along_axis("gather", input, dim, index)
    if not at.numel():
        # Nothing of the input, in the shape of the index; gradients of zero flow through.
        return reshaped(sliced(reshaped(x, (x.numel(),)), 0, 0, 0), tuple(index.shape)).clone()
    every = tuple(range(x.ndim))
    return reshaped(ops.index(x, *coordinates(at, axis), axes=every), tuple(index.shape))


@tensor_method
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, where the other axes broadcast and negative indices count from the end.

    Args:
        input: Any tensor.
        indices: Positions, int64.
        dim: The axis; without one, positions are in row-major order.

    Raises:
        DTypeError: positions are not int64.
        ShapeError: the two have different numbers of axes.
    """
    check_tensor("take_along_dim", input)
    check_tensor("take_along_dim", indices, "indices")
    if indices.dtype is not dt.int64:
        fail(
            DTypeError, f"take_along_dim: dtype of indices should be int64 but got {indices.dtype.name}", "use .long()"
        )
    if dim is None:
        at = wrapped("take_along_dim", reshaped(indices, (indices.numel(),)), input.numel(), 0)
        return gather(reshaped(input, (input.numel(),)), 0, at)
    if input.ndim != indices.ndim:
        fail(
            ShapeError,
            f"take_along_dim: input and indices should have the same number of dimensions, but got {input.ndim} and "
            f"{indices.ndim}",
            "reshape one of them",
        )
    axis = one_axis("take_along_dim", dim, input.ndim)
    if not input.ndim:
        return gather(input, 0, wrapped("take_along_dim", indices, 1, 0))
    at = wrapped("take_along_dim", indices, input.shape[axis], axis)
    before = [tuple(1 if a == axis else n for a, n in enumerate(t.shape)) for t in (input, indices)]
    try:
        sizes = broadcast_shapes(*before)
    except ShapeError as error:
        fail(ShapeError, f"take_along_dim: {error.message}", "axes other than dim broadcast")
    own, others = list(sizes), list(sizes)
    own[axis], others[axis] = indices.shape[axis], input.shape[axis]
    return gather(expanded(input, tuple(others)), axis, expanded(at, tuple(own)))


@tensor_method
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements at positions in row-major order, negative ones counted from the end.

    Raises:
        DTypeError: positions are not int64.
    """
    check_tensor("take", input)
    check_tensor("take", index, "index")
    if index.dtype is not dt.int64:
        fail(DTypeError, f"take: expected a long tensor for index, but got {index.dtype.name}", "cast it with .long()")
    at = wrapped("take", index, input.numel(), 0)
    return ops.index(reshaped(input, (input.numel(),)), at, axes=(0,))


@tensor_method
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Positions of an axis, in the order of a vector of indices.

    Args:
        input: Any tensor.
        dim: The axis; counted from the end where negative.
        index: Positions, int64 or int32, shape ``(K,)`` or ``()``.

    Returns:
        A tensor whose size along ``dim`` is K.
    """
    check_tensor("index_select", input)
    axis = one_axis("index_select", dim, input.ndim)
    at = check_vector("index_select", index)
    x = reshaped(input, (1,)) if not input.ndim else input
    check_positions("index_select", at, x.shape[axis], axis)
    rows = ops.index(x, at, axes=(axis,))
    if axis:
        rows = ops.transpose(rows, perm=(*range(1, axis + 1), 0, *range(axis + 1, x.ndim)))
    return rows if input.ndim or at.shape[0] != 1 else reshaped(rows, ())


@tensor_method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds; how many there are is read off the mask."""
    check_tensor("masked_select", input)
    check_mask("masked_select", mask)
    shape = common_shape("masked_select", input, mask)
    return expanded(input, shape)[expanded(mask, shape)].reshape(-1)


# Where elements are not zero ----------------------------------------------------------------------------


@tensor_method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of elements that are not zero; how many there are is read off the values.

    Args:
        input: Any tensor.
        as_tuple: A tensor for each axis, instead of a row for each element.
    """
    check_tensor("nonzero", input)
    if as_tuple:
        return tuple(nonzero_positions(input if input.ndim else reshaped(input, (1,))))
    return _rows(input)


def _rows(x: Tensor) -> Tensor:
    if not x.ndim:
        (places,) = nonzero_positions(reshaped(x, (1,)))
        return reshaped(sliced(reshaped(places, (places.numel(), 1)), 1, 0, 0), (places.numel(), 0)).clone()
    columns = [reshaped(p, (p.numel(), 1)) for p in nonzero_positions(x)]
    return ops.concatenate(*columns, axis=1) if len(columns) > 1 else columns[0]


@tensor_method
def argwhere(input: Tensor) -> Tensor:
    """Positions of elements that are not zero, a row for each."""
    check_tensor("argwhere", input)
    return _rows(input)


@tensor_method
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """Positions of the first ``size`` elements that are not zero, a row for each; rows that are left hold a number.

    The shape depends on no value, so that it compiles.

    Raises:
        ArgumentError: ``size`` is negative.
    """
    check_tensor("nonzero_static", input)
    size, fill_value = integers("nonzero_static", (size, fill_value), "size and fill_value")
    if size < 0:
        fail(ArgumentError, f"nonzero_static: size={size} is negative", "give 0 or more")
    shape, count = tuple(input.shape), input.numel()
    if not count or not size or not shape:
        return ops.full(fill_value, (size, len(shape)), dt.int64, str(input.device))
    held = reshaped(input if input.dtype is dt.bool_ else ops.ne(input, 0), (count,))
    # The first in the order of "not held" are the places that are held, in their order.
    order = ops.argsort(cast(ops.logical_not(held), dt.uint8), axis=0)
    taken = sliced(order, 0, 0, min(size, count))
    if size > count:
        taken = ops.pad(taken, low=(0,), high=(size - count,), value=0)
    total = ops.sum(cast(held, dt.int64), axes=(0,))
    there = ops.lt(iota((size, 1), 0, dt.int64, input), total)
    columns = [reshaped(c, (size, 1)) for c in _unravelled(taken, shape)]
    return ops.where(there, ops.concatenate(*columns, axis=1), fill_value)


def _unravelled(at: Tensor, shape: tuple[int, ...]) -> list[Tensor]:
    """The coordinate along each axis of positions in row-major order."""
    found: list[Tensor] = []
    step = 1
    for axis in reversed(range(len(shape))):
        over = at if step == 1 else ops.floor_div(at, step)
        found.insert(0, ops.remainder(over, max(shape[axis], 1)))
        step *= max(shape[axis], 1)
    return found


def unravel_index(indices: Tensor, shape: Any) -> tuple[Tensor, ...]:
    """For each axis of a shape the coordinates, int64, of positions in row-major order; behind the last it begins anew.

    Raises:
        DTypeError: positions are not integers.
        ArgumentError: a size is negative.
    """
    check_tensor("unravel_index", indices, "indices")
    if indices.dtype.kind not in "iu":
        fail(DTypeError, f"unravel_index: indices are {indices.dtype.name}, not integers", "cast them with .long()")
    given = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    sizes = integers("unravel_index", given, "shape")
    if any(n < 0 for n in sizes):
        fail(ArgumentError, f"unravel_index: 'shape' cannot have negative values, but got {sizes}", "give sizes")
    return tuple(_unravelled(cast(indices, dt.int64), sizes))
