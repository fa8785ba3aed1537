"""Reading and writing at computed positions, and sorting."""

from __future__ import annotations

from typing import Any

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.common import Scalar, cast, check_ndim, check_tensor, expanded, fail, iota, one_axis, reshaped
from tracec.functions.reduction import ValuesIndices
from tracec.functions.shape import between
from tracec.ir import dtype as dt
from tracec.ir.types import broadcast_shapes
from tracec.record.autocast import WIDEST, under_autocast
from tracec.record.check import check_values
from tracec.record.indexing import nonzero_positions
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor


def check_positions(name: str, index: Tensor, size: int, axis: int) -> None:
    """Refuse indices that are not integers from 0 to size - 1."""
    check_tensor(name, index, "index")
    if index.dtype.kind not in "iu":
        fail(DTypeError, f"{name}: index is {index.dtype.name}, positions are integers", "cast it with .long()")

    def test(values: Any) -> None:
        if not values.size:
            return
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= size:
            fail(
                AxisError,
                f"{name}: index {low if low < 0 else high} is out of bounds for axis {axis} with size {size}",
                f"use indices from 0 to {size - 1}" if size else "the axis is empty",
            )

    check_values(index, test, (0, size - 1))


def _line_index(name: str, input: Tensor, dim: int, index: Tensor) -> tuple[Tensor, int, Tensor]:
    """Input and index as at least vectors, and the axis; their other sizes checked."""
    check_tensor(name, input)
    check_tensor(name, index, "index")
    axis = one_axis(name, dim, input.ndim)
    x = reshaped(input, (1,)) if not input.ndim else input
    at = reshaped(index, (1,)) if not index.ndim else index
    if at.ndim != x.ndim:
        fail(
            ShapeError,
            f"{name}: index of shape {tuple(index.shape)} for input of shape {tuple(input.shape)}",
            "index has as many dimensions as the input",
        )
    for a, (n, m) in enumerate(zip(at.shape, x.shape, strict=True)):
        if a != axis and n > m:
            fail(
                ShapeError,
                f"{name}: index of shape {tuple(index.shape)} is larger than input of shape {tuple(input.shape)} "
                f"(axis {a}: {n} vs {m})",
                f"index may exceed the input along axis {axis} only",
            )
    check_positions(name, at, x.shape[axis], axis)
    return x, axis, at


def _coordinates(at: Tensor, axis: int) -> list[Tensor]:
    """For each axis the position that an element of the index stands for."""
    shape = tuple(at.shape)
    own = [tuple(n if a == b else 1 for b in range(len(shape))) for a, n in enumerate(shape)]
    return [at if a == axis else iota(own[a], a, dt.int64, at) for a in range(len(shape))]


@tensor_method
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Elements of an axis, each place choosing its own: ``out[i][j] = input[index[i][j]][j]`` for axis 0.

    Raises:
        AxisError: an index is out of range.
        ShapeError: the index does not fit the input.
    """
    x, axis, at = _line_index("gather", input, dim, index)
    if not at.numel():
        return reshaped(cast(at, input.dtype), tuple(index.shape))
    every = tuple(range(x.ndim))
    return reshaped(ops.index(x, *_coordinates(at, axis), axes=every), tuple(index.shape))


@tensor_method
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather`, where the other axes broadcast; with no axis, positions in row-major order."""
    if dim is None:
        return gather(reshaped(input, (input.numel(),)), 0, reshaped(indices, (indices.numel(),)))
    axis = one_axis("take_along_dim", dim, input.ndim)
    sizes = [max(a, b) for a, b in zip(input.shape, indices.shape, strict=True)]
    own, others = list(sizes), list(sizes)
    own[axis], others[axis] = indices.shape[axis], input.shape[axis]
    return gather(expanded(input, tuple(others)), axis, expanded(indices, tuple(own)))


@tensor_method
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements at positions in row-major order."""
    return reshaped(input, (input.numel(),))[index]


@tensor_method
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Positions of an axis, in the order of a vector of indices."""
    check_tensor("index_select", input)
    axis = one_axis("index_select", dim, input.ndim)
    check_positions("index_select", index, input.shape[axis] if input.ndim else 1, axis)
    if index.ndim > 1:
        fail(AxisError, f"index_select: index has shape {tuple(index.shape)}", "it is a vector")
    if not input.ndim:
        return input.clone()
    at = reshaped(index, (index.numel(),))
    rows = ops.index(input, at, axes=(axis,))
    return ops.transpose(rows, perm=(*range(1, axis + 1), 0, *range(axis + 1, input.ndim))) if axis else rows


def _values_at(name: str, x: Tensor, at: Tensor, src: Tensor | Scalar) -> Tensor:
    if not isinstance(src, Tensor):
        return ops.full(src, tuple(at.shape), x.dtype, str(x.device))
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
        source = source if source.shape[axis] == n else between(source, axis, 0, n)
    return source


def _scatter(name: str, input: Tensor, dim: int, index: Tensor, src: Tensor | Scalar, add: bool) -> Tensor:
    x, axis, at = _line_index(name, input, dim, index)
    if not at.numel():
        return input.clone()
    value = _values_at(name, x, at, src)
    put = ops.index_put(x, value, *_coordinates(at, axis), axes=tuple(range(x.ndim)), add=add)
    return reshaped(put, tuple(input.shape))


@tensor_method
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Tensor | Scalar | None = None,
    *,
    value: Scalar | None = None,
    reduce: str | None = None,
) -> Tensor:
    """The input with elements of ``src`` written along an axis at the places that the index names.

    Where several go to one place, the last one stays. ``reduce="add"`` adds them up.
    """
    given = src if src is not None else value
    if given is None:
        fail(ArgumentError, "scatter: neither src nor value is given", "give one of them")
    if reduce not in (None, "add"):
        fail(ArgumentError, f"scatter: reduce={reduce!r} is not known", "use None or 'add'")
    return _scatter("scatter", input, dim, index, given, reduce == "add")


@tensor_method
@under_autocast(WIDEST)
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """The input with elements of ``src`` added along an axis at the places that the index names."""
    return _scatter("scatter_add", input, dim, index, src, True)


def _put_rows(name: str, input: Tensor, dim: int, index: Tensor, source: Tensor, add: bool) -> Tensor:
    check_tensor(name, input)
    check_tensor(name, source, "source")
    axis = one_axis(name, dim, input.ndim)
    check_positions(name, index, input.shape[axis], axis)
    wanted = tuple(index.numel() if a == axis else n for a, n in enumerate(input.shape))
    if tuple(source.shape) != wanted:
        fail(ShapeError, f"{name}: source has shape {tuple(source.shape)}, not {wanted}", "one slice for each index")
    rows = ops.transpose(source, perm=(axis, *(a for a in range(input.ndim) if a != axis))) if axis else source
    return ops.index_put(input, cast(rows, input.dtype), reshaped(index, (index.numel(),)), axes=(axis,), add=add)


@tensor_method
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1) -> Tensor:
    """The input with slices of ``source`` added at the positions of an axis that the index names."""
    return _put_rows("index_add", input, dim, index, source if alpha == 1 else ops.mul(source, alpha), True)


@tensor_method
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """The input with slices of ``source`` written at the positions of an axis that the index names."""
    return _put_rows("index_copy", input, dim, index, source, False)


@tensor_method
def index_fill(input: Tensor, dim: int, index: Tensor, value: Scalar) -> Tensor:
    """The input with one value written at the positions of an axis that the index names."""
    axis = one_axis("index_fill", dim, input.ndim)
    shape = tuple(index.numel() if a == axis else n for a, n in enumerate(input.shape))
    filled = ops.full(value, shape, input.dtype, str(input.device))
    return _put_rows("index_fill", input, axis, index, filled, False)


@tensor_method
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Scalar) -> Tensor:
    """``value`` where the mask holds, else the input."""
    check_tensor("masked_fill", input)
    check_tensor("masked_fill", mask, "mask")
    if mask.dtype is not dt.bool_:
        fail(DTypeError, f"masked_fill: mask is {mask.dtype.name}, not bool", "compare it, e.g. mask != 0")
    if isinstance(value, Tensor) and value.ndim:
        fail(ShapeError, f"masked_fill: value has shape {tuple(value.shape)}", "it is a number, or a scalar tensor")
    return ops.where(mask, cast(value, input.dtype) if isinstance(value, Tensor) else value, input)


@tensor_method
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where the mask holds; how many there are is read off the mask."""
    check_tensor("masked_select", input)
    check_tensor("masked_select", mask, "mask")
    try:
        shape = broadcast_shapes(tuple(input.shape), tuple(mask.shape))
    except ShapeError as error:
        fail(ShapeError, f"masked_select: {error.message}", "give a mask of the input's shape")
    return expanded(input, shape)[expanded(mask, shape)]


@tensor_method
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Positions of elements that are not zero, a row for each; how many there are is read off the values."""
    check_tensor("nonzero", input)
    positions = nonzero_positions(input)
    if as_tuple:
        return tuple(positions)
    columns = [reshaped(p, (p.numel(), 1)) for p in positions]
    if not columns:
        return ops.full(0, (int(bool(input)), 0), dt.int64)
    return ops.concatenate(*columns, axis=1) if len(columns) > 1 else columns[0]


argwhere = tensor_method(name="argwhere")(nonzero)


@tensor_method
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Positions that sort an axis; ties keep their order."""
    check_tensor("argsort", input)
    axis = one_axis("argsort", dim, input.ndim)
    if not input.ndim:
        return ops.full(0, (), dt.int64, str(input.device))
    return ops.argsort(input, axis=axis, descending=descending)


@tensor_method
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> ValuesIndices:
    """An axis in order, and where its elements stood; NaN counts as the largest."""
    order = argsort(input, dim, descending)
    return ValuesIndices(gather(input, dim, order), order)


@tensor_method
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesIndices:
    """The k largest (or smallest) elements of an axis, in order, and where they stood."""
    check_tensor("topk", input)
    axis = one_axis("topk", dim, input.ndim)
    size = input.shape[axis] if input.ndim else 1
    if not 0 <= k <= size:
        fail(ArgumentError, f"topk: k={k} does not fit axis {axis} of size {size}", f"use k from 0 to {size}")
    order = argsort(input, axis, largest)
    order = between(order, axis, 0, k) if input.ndim else order
    return ValuesIndices(gather(input, axis, order), order)


@tensor_method
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> ValuesIndices:
    """The k-th smallest element of an axis, counted from 1, and where it stood."""
    return _at_rank(input, k - 1, dim, keepdim)


@tensor_method
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor | ValuesIndices:
    """The middle element, the lower one of two; with an axis, also where it stood."""
    if dim is None:
        flat = reshaped(input, (input.numel(),))
        return _at_rank(flat, (flat.numel() - 1) // 2, 0, False).values
    size = input.shape[one_axis("median", dim, input.ndim)]
    return _at_rank(input, (size - 1) // 2, dim, keepdim)


def _at_rank(x: Tensor, rank: int, dim: int, keepdim: bool) -> ValuesIndices:
    axis = one_axis("kthvalue", dim, x.ndim)
    if x.ndim and not 0 <= rank < x.shape[axis]:
        size = x.shape[axis]
        wrong = f"kthvalue: k={rank + 1} does not fit axis {axis} of size {size}"
        fail(ArgumentError, wrong, f"use k from 1 to {size}")
    order = between(argsort(x, axis), axis, rank, rank + 1)
    found = ValuesIndices(gather(x, axis, order), order)
    if keepdim:
        return found
    shape = tuple(n for a, n in enumerate(x.shape) if a != axis)
    return ValuesIndices(reshaped(found.values, shape), reshaped(found.indices, shape))


@tensor_method
def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices with zeros above a diagonal."""
    return _triangle("tril", input, diagonal)


@tensor_method
def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Matrices with zeros below a diagonal."""
    return _triangle("triu", input, diagonal)


def _triangle(name: str, x: Tensor, diagonal: int) -> Tensor:
    check_tensor(name, x)
    if x.ndim < 2:
        fail(ShapeError, f"{name}: shape {tuple(x.shape)} holds no matrices", "give at least 2 dimensions")
    rows, columns = tuple(x.shape[-2:])
    i, j = iota((rows, 1), 0, dt.int64, x), iota((1, columns), 1, dt.int64, x)
    off = ops.sub(j, i)
    kept = ops.le(off, diagonal) if name == "tril" else ops.ge(off, diagonal)
    return ops.where(kept, x, False if x.dtype is dt.bool_ else 0)


def searchsorted(sorted_sequence: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """How many elements of a sorted vector stand before each value; ``right`` counts equal ones too."""
    shape = tuple(values.shape)
    steps = reshaped(sorted_sequence, (1,) * len(shape) + tuple(sorted_sequence.shape))
    given = reshaped(values, (*shape, 1))
    below = ops.le(steps, given) if right else ops.lt(steps, given)
    return ops.sum(cast(below, dt.int64), axes=(len(shape),))


@tensor_method
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each integer occurs, or the sum of its weights; the largest one is read off the values."""
    check_ndim("bincount", input, (1,), "a vector")
    if input.dtype.kind not in "iu":
        fail(DTypeError, f"bincount: takes integers, {input.dtype.name} given", "cast it with .long()")
    if input.numel() and int(input.min()) < 0:
        fail(ArgumentError, f"bincount: {int(input.min())} is negative", "count integers from 0 on")
    count = max(int(input.max()) + 1 if input.numel() else 0, minlength)
    dtype = dt.int64 if weights is None else weights.dtype
    zero = ops.full(0, (count,), dtype, str(input.device))
    one = ops.full(1, tuple(input.shape), dtype, str(input.device)) if weights is None else weights
    return scatter_add(zero, 0, input, one) if input.numel() else zero
