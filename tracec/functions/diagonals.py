"""Diagonals of matrices, and matrices made of parts."""

from __future__ import annotations

from functools import reduce

from tracec import ops
from tracec.errors import ArgumentError, AxisError, DTypeError, ShapeError
from tracec.functions.addressed import as_strided, has_addresses
from tracec.functions.common import (
    cast,
    check_ndim,
    check_tensor,
    expanded,
    fail,
    integers,
    iota,
    one_axis,
    one_integer,
    reshaped,
    sliced,
)
from tracec.ir import dtype as dt
from tracec.record.method import tensor_method
from tracec.record.mode import is_grad_enabled
from tracec.record.tensor import Tensor, get_default_dtype


@tensor_method
def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The elements whose positions in two axes differ by ``offset``, as a new last axis.

    Raises:
        ArgumentError: both axes are the same.
    """
    check_tensor("diagonal", input)
    offset = one_integer("diagonal", offset, "offset")
    a, b = (one_axis("diagonal", d, input.ndim) for d in (dim1, dim2))
    if a == b:
        fail(ArgumentError, f"diagonal: dim1 and dim2 are both axis {a}", "name two axes")
    rest = [i for i in range(input.ndim) if i not in (a, b)]
    # Both axes have to become one without a copy, or what is written into the diagonal would be lost.
    if not _is_one(input, a, b):
        if _is_one(input, b, a):
            a, b, offset = b, a, -offset
        elif not (input.requires_grad and is_grad_enabled()) and has_addresses(input):
            return _at_addresses(input, rest, a, b, offset)
    x = ops.transpose(input, perm=(*rest, a, b))
    rows, columns = x.shape[-2:]
    down, right = max(-offset, 0), max(offset, 0)
    size = max(min(rows - down, columns - right), 0)
    lead = tuple(x.shape[:-2])
    # In row-major order the diagonal's elements are columns + 1 apart.
    flat = reshaped(x, (*lead, rows * columns))
    start = down * columns + right if size else 0
    stop = start + size * (columns + 1) - columns if size else start
    n = len(lead)
    return ops.slice(flat, starts=(0,) * n + (start,), stops=(*lead, stop), steps=(1,) * n + (columns + 1,))


def _is_one(x: Tensor, a: int, b: int) -> bool:
    """Whether the elements along axis a, and along b within, are equally far apart in memory, as those of one axis."""
    (rows, columns), (far, near) = ((of[a], of[b]) for of in (x._array.shape, x._array.strides))
    return bool(rows <= 1 or columns <= 1 or far == near * columns)


def _at_addresses(x: Tensor, rest: list[int], a: int, b: int, offset: int) -> Tensor:
    """The diagonal of a matrix that has gaps between its rows, as a part of another one has; a view as well."""
    strides = x.stride()
    down, right = max(-offset, 0), max(offset, 0)
    size = max(min(x.shape[a] - down, x.shape[b] - right), 0)
    shape = (*(x.shape[i] for i in rest), size)
    steps = (*(strides[i] for i in rest), strides[a] + strides[b])
    start = x.storage_offset() + (down * strides[a] + right * strides[b] if size else 0)
    return as_strided(x, shape, steps, start)


_diagonal = diagonal


@tensor_method
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """A matrix's diagonal, or a square matrix with a vector as its diagonal."""
    check_ndim("diag", input, (1, 2), "a vector or a matrix")
    return diag_embed(input, diagonal) if input.ndim == 1 else _diagonal(input, diagonal)


@tensor_method
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices, zero but for a diagonal, which is the last axis of the input.

    Args:
        input: Shape ``(..., n)``.
        offset: How far the diagonal is above the main one.
        dim1: Where the result has its rows.
        dim2: Where it has its columns.

    Raises:
        AxisError: the input has no axes.
        ArgumentError: both places are the same.
    """
    check_tensor("diag_embed", input)
    offset = one_integer("diag_embed", offset, "offset")
    if not input.ndim:
        fail(AxisError, "diag_embed: the input has no axes", "the last axis is the diagonal")
    a, b = (one_axis("diag_embed", d, input.ndim + 1) for d in (dim1, dim2))
    if a == b:
        fail(ArgumentError, f"diag_embed: dim1 and dim2 are both axis {a}", "name two axes")
    n, lead = input.shape[-1], tuple(input.shape[:-1])
    size = n + abs(offset)
    right = max(offset, 0)
    # A column holds the element of its own place; all other rows are zero.
    low, high = [0] * input.ndim, [0] * input.ndim
    low[-1], high[-1] = right, size - n - right
    wide = ops.pad(input, low=tuple(low), high=tuple(high), value=_zero_of(input))
    spread = expanded(reshaped(wide, (*lead, 1, size)), (*lead, size, size))
    i, j = (iota((size, size), axis, dt.int64, input) for axis in (0, 1))
    result = ops.where(ops.eq(ops.sub(j, i), offset), spread, _zero_of(input))
    if (a, b) == (input.ndim - 1, input.ndim):
        return result
    perm = [0] * (input.ndim + 1)
    rest = iter(range(input.ndim - 1))
    for axis in range(input.ndim + 1):
        perm[axis] = input.ndim - 1 if axis == a else input.ndim if axis == b else next(rest)
    return ops.transpose(result, perm=tuple(perm))


@tensor_method
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A square matrix, zero but for a diagonal that holds the elements in row-major order."""
    check_tensor("diagflat", input)
    return diag_embed(reshaped(input, (input.numel(),)), offset)


@tensor_method(name="fill_diagonal_")
def fill_diagonal(input: Tensor, fill_value: float, wrap: bool = False) -> Tensor:
    """Write one value on the main diagonal, in place: where all positions are equal.

    Args:
        input: A matrix, or a tensor of more axes, all of one size.
        fill_value: The value.
        wrap: In a matrix that is higher than wide, begin again a row below the end.
    """
    check_tensor("fill_diagonal_", input)
    shape = tuple(input.shape)
    if len(shape) < 2 or (len(shape) > 2 and len(set(shape)) > 1):
        fail(ShapeError, f"fill_diagonal_: shape {shape} has no main diagonal", "give a matrix, or equal sizes")
    places = [
        iota(tuple(n if a == b else 1 for b in range(len(shape))), a, dt.int64, input) for a, n in enumerate(shape)
    ]
    rows = ops.remainder(places[0], shape[1] + 1) if wrap and len(shape) == 2 and shape[1] else places[0]
    held = ops.eq(rows, places[1])
    for place in places[2:]:
        held = ops.bitwise_and(held, ops.eq(places[0], place))
    if not input.numel():
        return input
    input[expanded(held, shape)] = fill_value
    return input


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
        fail(
            ShapeError, f"{name}: input tensor must have at least 2 dimensions, shape is {tuple(x.shape)}", "reshape it"
        )
    (diagonal,) = integers(name, (diagonal,), "diagonal")
    rows, columns = tuple(x.shape[-2:])
    i, j = iota((rows, 1), 0, dt.int64, x), iota((1, columns), 1, dt.int64, x)
    off = ops.sub(j, i)
    kept = ops.le(off, diagonal) if name == "tril" else ops.ge(off, diagonal)
    return ops.where(kept, x, _zero_of(x))


def _zero_of(x: Tensor) -> bool | float:
    return False if x.dtype is dt.bool_ else 0


def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, which are the last two axes by default."""
    return _diagonal(A, offset, dim1, dim2)


@tensor_method
def trace(input: Tensor) -> Tensor:
    """The sum of a matrix's diagonal; integers give int64.

    Raises:
        DTypeError: the input is of bools.
    """
    check_ndim("trace", input, (2,), "a matrix")
    if input.dtype is dt.bool_:
        fail(DTypeError, "trace: takes numbers, input is bool", "cast it to a number type")
    return ops.sum(_diagonal(input), axes=(0,), keepdims=False)


def block_diag(*tensors: Tensor) -> Tensor:
    """A matrix, zero but for matrices that lie along its diagonal, corner to corner.

    Scalars are matrices of one element, vectors are rows. Dtypes are promoted to a common one.
    """
    blocks = []
    for k, x in enumerate(tensors):
        check_ndim("block_diag", x, (0, 1, 2), "a matrix, a vector or a scalar", f"tensor {k}")
        blocks.append(x if x.ndim == 2 else reshaped(x, (1, x.numel())))
    if not blocks:
        return ops.full(0.0, (1, 0), get_default_dtype(), "cpu")
    common = reduce(dt.promote, (x.dtype for x in blocks))
    columns, column, rows = sum(x.shape[1] for x in blocks), 0, []
    for x in blocks:
        after = columns - column - x.shape[1]
        x = cast(x, common)
        rows.append(ops.pad(x, low=(0, column), high=(0, after), value=_zero_of(x)))
        column += x.shape[1]
    return ops.concatenate(*rows, axis=0)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """A matrix whose columns are powers of a vector, from the N-1st down to the 0th.

    Args:
        x: A vector.
        N: How many columns; as many as rows by default.
        increasing: From the 0th power up.

    Raises:
        ArgumentError: ``N`` is negative.
    """
    check_ndim("vander", x, (1,), "a vector", "x")
    columns = x.shape[0] if N is None else N
    if columns < 0:
        fail(ArgumentError, f"vander: N={N} is negative", "give the number of columns")
    powers = _powers(cast(x, dt.int64) if x.dtype is dt.bool_ else x, columns)
    return powers if increasing else ops.flip(powers, axes=(1,))


def linalg_vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Matrices whose columns are powers of vectors, from the 0th up to the N-1st; shape ``(..., n, N)``.

    Raises:
        DTypeError: the vectors are of bools.
        ArgumentError: there would be fewer than two columns.
    """
    check_tensor("linalg.vander", x, "x")
    if x.dtype is dt.bool_:
        fail(DTypeError, "linalg.vander: takes numbers, x is bool", "cast it to a number type")
    x = cast(x if x.ndim else reshaped(x, (1,)), dt.int64 if x.dtype.kind in "iu" else x.dtype)
    columns = x.shape[-1] if N is None else one_integer("linalg.vander", N, "N")
    if columns <= 1:
        fail(ArgumentError, f"linalg.vander: N must be greater than 1, it is {columns}", "give the number of columns")
    return _powers(x, columns)


def _powers(x: Tensor, count: int) -> Tensor:
    """The powers from 0 on, along a new last axis, as running products."""
    column = reshaped(x, (*x.shape, 1))
    powers = [ops.full(1, tuple(column.shape), x.dtype, str(x.device))]
    while len(powers) < count:
        powers.append(ops.mul(powers[-1], column) if len(powers) > 1 else column)
    return sliced(ops.concatenate(*powers, axis=x.ndim), x.ndim, 0, count)
