"""Writing at computed positions: elements of another tensor in place of, or combined with, what stands there."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NoReturn

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, AxisError, DTypeError, ShapeError
from tracec.functions.common import (
    Number,
    cast,
    check_choice,
    check_number,
    check_tensor,
    expanded,
    fail,
    filled,
    iota,
    one_axis,
    reshaped,
    sliced,
)
from tracec.functions.positions import along_axis, check_positions, check_vector, coordinates, wrapped
from tracec.ir import dtype as dt
from tracec.ir.number import converted
from tracec.ir.scalar import identity
from tracec.ir.types import broadcast_shapes
from tracec.record.autocast import WIDEST, under_autocast
from tracec.record.check import check_range
from tracec.record.indexing import set_item
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

_REDUCTIONS = ("sum", "prod", "mean", "amax", "amin")
_COMBINES = {"prod": "mul", "amax": "maximum", "amin": "minimum"}


def of_kind(value: Any, x: Tensor) -> Any:
    """A number in Python's type for the elements of a tensor."""
    kind: Any = complex if x.dtype.is_complex else {"b": bool, "f": float}.get(x.dtype.kind, int)
    return converted(kind, value)


def _put(x: Tensor, value: Tensor, at: Sequence[Tensor], axes: tuple[int, ...], reduce: str | None) -> Tensor:
    """Values written (None), added or otherwise combined at positions."""
    if 0 in value.shape:
        return x.clone()
    if reduce == "sum" and x.dtype is dt.bool_:
        reduce = "amax"
    if reduce in (None, "sum"):
        return ops.index_put(x, value, *at, axes=axes, add=reduce == "sum")
    return ops.index_combine(x, value, *at, axes=axes, combine=_COMBINES[reduce])


def _reduced(
    x: Tensor, value: Tensor, at: Sequence[Tensor], axes: tuple[int, ...], reduce: str, include_self: bool
) -> Tensor:
    """Values reduced into what stands at positions, that counting as one of them or not at all."""
    if not include_self:
        start = filled(_identity(reduce, x), value)
        x = _put(x, start, at, axes, None)
    if reduce != "mean":
        return _put(x, value, at, axes, reduce)
    total = _put(x, value, at, axes, "sum")
    counts = filled(int(include_self), x, dtype=dt.int64), filled(1, value, dtype=dt.int64)
    count = ops.maximum(_put(*counts, at, axes, "sum"), 1)
    whole = not (x.dtype.is_floating_point or x.dtype.is_complex)
    return ops.floor_div(total, cast(count, x.dtype)) if whole else ops.div(total, cast(count, x.dtype))


def _identity(reduce: str, x: Tensor) -> Any:
    """What changes nothing when it is reduced with other elements."""
    return of_kind(identity(_COMBINES.get(reduce, "add"), x.dtype), x)


# Along an axis, each place choosing its own position ---------------------------------------------------


def _source(name: str, x: Tensor, at: Tensor, src: Tensor) -> Tensor:
    """The elements of ``src`` that an index has a place for."""
    check_tensor(name, src, "src")
    if src.dtype is not x.dtype:
        fail(DTypeError, f"{name}: src is {src.dtype.name}, input {x.dtype.name}", "cast one to the other's dtype")
    source = reshaped(src, (1,)) if not src.ndim else src
    if source.ndim != at.ndim or any(n > m for n, m in zip(at.shape, source.shape, strict=True)):
        fail(
            ShapeError,
            f"{name}: index of shape {tuple(at.shape)} is larger than src of shape {tuple(src.shape)}",
            "src has an element for each index",
        )
    for axis, n in enumerate(at.shape):
        source = sliced(source, axis, 0, n)
    return source


def _scatter(
    name: str, input: Tensor, dim: int, index: Tensor, src: Any, reduce: str | None, include_self: bool = True
) -> Tensor:
    x, axis, at = along_axis(name, input, dim, index)
    if not at.numel():
        return input.clone()
    if isinstance(src, Tensor):
        value = _source(name, x, at, src)
    else:
        check_number(name, src, "value")
        value = filled(_fitting(name, src, x), x, tuple(at.shape))
    places, axes = coordinates(at, axis), tuple(range(x.ndim))
    if reduce is None:
        result = _put(x, value, places, axes, None)
    else:
        result = _reduced(x, value, places, axes, reduce, include_self)
    return reshaped(result, tuple(input.shape))


def _fitting(name: str, value: Any, x: Tensor) -> Any:
    """A number as one of the tensor's element type.

    Raises:
        DTypeError: it is complex, and the tensor is not.
    """
    if isinstance(value, complex) and not x.dtype.is_complex:
        fail(
            DTypeError,
            f"{name}: value cannot be converted to type {x.dtype.name}: {value} is complex",
            "give a real one",
        )
    return of_kind(value, x)


@tensor_method
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Number | None = None,
    *,
    value: Number | None = None,
    reduce: str | None = None,
) -> Tensor:
    """The input with elements of ``src`` written along an axis at the places that the index names.

    Args:
        input: Any tensor.
        dim: The axis.
        index: Positions on the axis, int64 or int32; no larger than ``src``, nor than the input but along ``dim``.
        src: Values in the shape of the index or larger, of the input's dtype; or one number.
        value: The number, by its other name.
        reduce: None: where several go to one place, the last one stays. ``add`` or ``multiply``: they are combined
            with what stands there.

    Raises:
        AxisError: an index is out of range.
        DTypeError: ``src`` has another dtype than the input.
        ShapeError: the index does not fit.
    """
    given = src if src is not None else value
    if given is None or (src is not None and value is not None):
        fail(ArgumentTypeError, "scatter: takes one of src and value", "give one of them")
    if reduce is None:
        return _scatter("scatter", input, dim, index, given, None)
    check_choice("scatter", "reduce", reduce, ("add", "multiply"))
    return _scatter("scatter", input, dim, index, given, "sum" if reduce == "add" else "prod")


@tensor_method
@under_autocast(WIDEST)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The input with elements of ``src`` added along an axis at the places that the index names."""
    check_tensor("scatter_add", src, "src")
    return _scatter("scatter_add", input, dim, index, src, "sum")


@tensor_method
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The input with elements of ``src`` reduced into the places along an axis that the index names.

    Args:
        input: Any tensor.
        dim: The axis.
        index: Positions on the axis; see `scatter`.
        src: Values in the shape of the index or larger.
        reduce: ``sum``, ``prod``, ``mean``, ``amax`` or ``amin``. Means of integers are rounded down.
        include_self: What stands in a place is one of the elements reduced.
    """
    check_tensor("scatter_reduce", src, "src")
    check_choice("scatter_reduce", "reduce", reduce, _REDUCTIONS)
    return _scatter("scatter_reduce", input, dim, index, src, reduce, include_self)


# Slices along an axis ----------------------------------------------------------------------------------


def _rows(
    name: str, input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str | None, include_self: bool = True,
    wraps: bool = False,
) -> Tensor:  # fmt: skip
    """Slices of ``source`` written or reduced at positions of an axis."""
    check_tensor(name, input)
    check_tensor(name, source, "source")
    axis = one_axis(name, dim, input.ndim)
    at = check_vector(name, index)
    x = reshaped(input, (1,)) if not input.ndim else input
    if source.dtype is not x.dtype:
        fail(
            DTypeError,
            f"{name}: source is {source.dtype.name}, input {x.dtype.name}",
            "cast one to the other's dtype",
        )
    wanted = tuple(at.shape[0] if a == axis else n for a, n in enumerate(x.shape))
    if tuple(source.shape) != wanted and not (source.ndim == 0 and wanted == (1,)):
        fail(ShapeError, f"{name}: source has shape {tuple(source.shape)}, not {wanted}", "one slice for each index")
    if wraps:
        at = wrapped(name, at, x.shape[axis], axis)
    else:
        check_positions(name, at, x.shape[axis], axis)
    source = reshaped(source, wanted)
    rows = ops.transpose(source, perm=(axis, *(a for a in range(x.ndim) if a != axis))) if axis else source
    if reduce is None or reduce == "sum":
        result = _put(x, rows, (at,), (axis,), reduce)
    else:
        result = _reduced(x, rows, (at,), (axis,), reduce, include_self)
    return reshaped(result, tuple(input.shape))


@tensor_method
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Number = 1) -> Tensor:
    """The input with slices of ``source``, times ``alpha``, added at the positions of an axis that the index names."""
    check_tensor("index_add", source, "source")
    scaled = source if alpha == 1 and not isinstance(alpha, bool) else ops.mul(source, of_kind(alpha, source))
    return _rows("index_add", input, dim, index, scaled, "sum")


@tensor_method
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The input with slices of ``source`` written at the positions of an axis that the index names."""
    return _rows("index_copy", input, dim, index, source, None)


@tensor_method(inplace=True)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """The input with slices of ``source`` reduced into the positions of an axis that the index names.

    Args:
        input: Any tensor.
        dim: The axis.
        index: A vector of positions.
        source: A slice for each index.
        reduce: ``prod``, ``mean``, ``amax`` or ``amin``. Means of integers are rounded down.
        include_self: What stands in a place is one of the elements reduced.
    """
    check_choice("index_reduce", "reduce", reduce, _REDUCTIONS[1:])
    return _rows("index_reduce", input, dim, index, source, reduce, include_self)


@tensor_method(inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Tensor | Number) -> Tensor:
    """The input with one value written at the positions of an axis that the index names."""
    check_tensor("index_fill", input)
    axis = one_axis("index_fill", dim, input.ndim)
    count = check_vector("index_fill", index).shape[0]
    shape = tuple(count if a == axis else n for a, n in enumerate(input.shape)) if input.ndim else (1,)
    return _rows("index_fill", input, dim, index, _spread("index_fill", value, input, shape), None, wraps=True)


def _spread(name: str, value: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A number, or a tensor of one without axes, in that shape and the element type of x."""
    if not isinstance(value, Tensor):
        check_number(name, value, "value")
        return filled(_fitting(name, value, x), x, shape)
    if value.ndim:
        fail(ShapeError, f"{name}: value has shape {tuple(value.shape)}", "it is a number, or a tensor without axes")
    if value.dtype.is_complex and not x.dtype.is_complex:
        fail(
            DTypeError,
            f"{name}: value of type {value.dtype.name} cannot be converted to {x.dtype.name}",
            "give a real one",
        )
    return expanded(cast(value, x.dtype), shape)


# Anywhere ----------------------------------------------------------------------------------------------


@tensor_method
def index_put(
    input: Tensor, indices: Sequence[Tensor | None] | None, values: Tensor, accumulate: bool = False
) -> Tensor:
    """The input with values written, or added, where it is indexed with tensors.

    Args:
        input: Any tensor.
        indices: A mask or a tensor of positions for each of the first axes; None for all of an axis.
        values: Broadcast to what ``input[indices]`` is, of the input's dtype.
        accumulate: Add; where one place is named several times, all of its values count.

    Raises:
        AxisError: an index is out of range.
        DTypeError: the values have another dtype.
        ShapeError: the values do not broadcast.
    """
    check_tensor("index_put", input)
    check_tensor("index_put", values, "values")
    if not isinstance(indices, (tuple, list)) or not all(i is None or isinstance(i, Tensor) for i in indices):
        fail(ArgumentTypeError, "index_put: indices are a tuple of tensors", "e.g. (rows, columns)")
    key = tuple(slice(None) if i is None else i for i in indices)
    if values.dtype is not input.dtype:
        fail(
            DTypeError,
            f"index_put: values are {values.dtype.name}, input {input.dtype.name}",
            "cast one to the other's dtype",
        )
    if not accumulate:
        result = input.clone()
        set_item(result, key, values)
        return result
    # Numbers of the elements tell where each value goes.
    numbers = reshaped(iota((input.numel(),), 0, dt.int64, input), tuple(input.shape))
    places = numbers[key]
    try:
        fits = broadcast_shapes(tuple(places.shape), tuple(values.shape)) == tuple(places.shape)
    except ShapeError:
        fits = False
    if not fits:
        fail(
            ShapeError,
            f"index_put: values of shape {tuple(values.shape)} do not broadcast to {tuple(places.shape)}",
            "the latter is what the indices choose",
        )
    flat = reshaped(input, (input.numel(),))
    return reshaped(_put(flat, expanded(values, tuple(places.shape)), (places,), (0,), "sum"), tuple(input.shape))


@tensor_method
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """The input with elements of ``source`` written, or added, at positions in row-major order.

    Raises:
        DTypeError: positions are not int64, or ``source`` has another dtype than the input.
        AxisError: there is not one element of ``source`` for each position.
    """
    check_tensor("put", input)
    check_tensor("put", source, "source")
    check_tensor("put", index, "index")
    if index.dtype is not dt.int64:
        fail(DTypeError, f"put: index is {index.dtype.name}, not int64", "cast it with .long()")
    if source.dtype is not input.dtype:
        fail(
            DTypeError, f"put: source is {source.dtype.name}, input {input.dtype.name}", "cast one to the other's dtype"
        )
    if index.numel() != source.numel():
        fail(
            AxisError,
            f"put: {source.numel()} elements of source for {index.numel()} indices",
            "source has an element for each index",
        )
    count = input.numel()
    at = wrapped("put", reshaped(index, (index.numel(),)), count, 0)
    values = reshaped(source, (index.numel(),))
    flat = reshaped(input, (count,))
    return reshaped(_put(flat, values, (at,), (0,), "sum" if accumulate else None), tuple(input.shape))


# Where a mask holds ------------------------------------------------------------------------------------


def check_mask(name: str, mask: Tensor) -> None:
    """Refuse what is no tensor of bools."""
    check_tensor(name, mask, "mask")
    if mask.dtype is not dt.bool_:
        fail(DTypeError, f"{name}: mask is {mask.dtype.name}, not bool", "compare it, e.g. mask != 0")


def common_shape(name: str, *tensors: Tensor) -> tuple[int, ...]:
    """The shape that tensors broadcast to."""
    try:
        return broadcast_shapes(*(tuple(t.shape) for t in tensors))
    except ShapeError as error:
        fail(ShapeError, f"{name}: {error.message}", "give a mask of the input's shape")


@tensor_method
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """``value`` where the mask holds, else the input."""
    check_tensor("masked_fill", input)
    check_mask("masked_fill", mask)
    common_shape("masked_fill", input, mask)
    return ops.where(mask, _spread("masked_fill", value, input, ()), input)


@tensor_method
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """Elements of ``source``, in order, where the mask holds, else the input; source has one for each at least.

    Raises:
        DTypeError: ``source`` has another dtype than the input.
        ArgumentError: ``source`` has too few elements.
    """
    check_tensor("masked_scatter", input)
    check_mask("masked_scatter", mask)
    check_tensor("masked_scatter", source, "source")
    if source.dtype is not input.dtype:
        fail(
            DTypeError,
            f"masked_scatter: expected self and source to have same dtypes but got {input.dtype.name} and "
            f"{source.dtype.name}",
            "cast one to the other's dtype",
        )
    shape = common_shape("masked_scatter", input, mask)
    x, held = expanded(input, shape), expanded(mask, shape)
    size, count = prod(shape), source.numel()
    flat = reshaped(held, (size,))
    # How many places before and with each one the mask holds at.
    order = ops.cumsum(cast(flat, dt.int64), axis=0)

    def refuse(values: Any) -> NoReturn:
        places = "more" if values is None else int(values.max())
        fail(
            ArgumentError,
            f"masked_scatter: {count} elements of source for {places} places that the mask names",
            "source has an element for each",
        )

    check_range(order, 0, count, refuse)
    if not count or not size:
        return ops.where(held, x, x)
    at = ops.minimum(ops.maximum(ops.sub(order, 1), 0), count - 1)
    picked = ops.index(reshaped(source, (count,)), at, axes=(0,))
    return ops.where(held, reshaped(picked, shape), x)
