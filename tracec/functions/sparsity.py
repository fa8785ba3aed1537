"""Tensors of which some elements are stored: how they are made; and what dense ones answer in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from tracec.errors import ArgumentError, DTypeError, ShapeError
from tracec.functions.common import check_tensor, fail, filled, integers
from tracec.functions.creation import as_tensor
from tracec.functions.extremes import amax
from tracec.functions.options import Place, dtype_of, placed
from tracec.functions.positions import check_positions, not_rising
from tracec.functions.shape import view_as
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.check import check_none
from tracec.record.form import Layout, strided
from tracec.record.method import tensor_method
from tracec.record.tensor import Tensor

# The classes of sparse tensors are imported where one is made: once they are there, functions look for them.


def sparse_coo_tensor(
    indices: Any = None,
    values: Any = None,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    device: Place = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Any:
    """A sparse tensor of coordinates and the elements that are there; all others are zero.

    Args:
        indices: Coordinates, integers, shape ``(sparse axes, stored)``; or nested lists.
        values: Elements, shape ``(stored, *dense sizes)``; or a list. Gradients flow to a tensor.
        size: Size of each axis; by default as large as the coordinates need it.
        dtype: Element type; by default that of the values.
        device: Where it is to be; by default where the values are.
        pin_memory: Only False is supported.
        requires_grad: Whether gradients are computed for the elements.
        check_invariants: Taken as in PyTorch, with no effect: coordinates are always checked.
        is_coalesced: Whether to take it as given that each place is there once, in order.

    Raises:
        ShapeError: numbers of coordinates, elements and axes do not fit.
        AxisError: a coordinate is out of range.
    """
    from tracec.sparse.coo import SparseTensor

    name = "sparse_coo_tensor"
    if size is None and isinstance(indices, (tuple, list)) and values is None:
        indices, size = None, indices
    if indices is None:
        return _empty(name, size, dtype, device, requires_grad)
    data, places = _parts(name, values, (indices,), dtype, device)
    (at,) = places
    if at.ndim != 2:
        fail(
            ShapeError, f"{name}: indices must be sparse_dim x nnz, but got: {list(at.shape)}", "one row for each axis"
        )
    data = data.expand(at.shape[1]) if not data.ndim else data
    if data.shape[0] != at.shape[1]:
        fail(
            ShapeError,
            f"{name}: indices and values must have same nnz, but got nnz from indices: {at.shape[1]}, nnz from "
            f"values: {data.shape[0]}",
            "a column of coordinates for each element",
        )
    sizes = _sizes_of(at, data) if size is None else integers(name, size, "size")
    axes = at.shape[0]
    if len(sizes) != axes + data.ndim - 1:
        fail(
            ShapeError,
            f"{name}: 'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(sizes)}, "
            f"sparse_dim = {axes}, dense_dim = {data.ndim - 1}",
            "a size for each axis",
        )
    if tuple(data.shape[1:]) != sizes[axes:]:
        fail(ShapeError, f"{name}: values of shape {tuple(data.shape)} for size {sizes}", "dense axes come last")
    for axis in range(axes):
        check_positions(name, at[axis], sizes[axis], axis)
    return SparseTensor(at, _leaf(data, requires_grad), sizes, bool(is_coalesced))


def _parts(
    name: str, values: Any, places: tuple[Any, ...], dtype: DType | None, device: Place
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Elements and coordinates as tensors on one device."""
    data = as_tensor(values, dtype=dtype_of(name, dtype))
    data = data.to(placed(device, data.device))
    found = []
    for p in places:
        made = as_tensor(p).detach()
        if made.dtype.is_complex or made.dtype is dt.bool_:
            fail(DTypeError, f"{name}: coordinates are {made.dtype.name}", "they are integers")
        found.append(made.to(device=data.device, dtype=made.dtype if made.dtype is dt.int32 else dt.int64))
    return data, tuple(p.to(dtype=dt.int64) for p in found) if len(found) == 1 else tuple(found)


def _leaf(data: Tensor, requires_grad: bool) -> Tensor:
    """Elements that are a leaf where asked for; otherwise none, so that a leaf that was given stays as it is."""
    if requires_grad:
        return data.detach().requires_grad_()
    return view_as(data, data) if data.requires_grad and data.is_leaf else data


def _sizes_of(at: Tensor, data: Tensor) -> tuple[int, ...]:
    """The sizes that coordinates need."""
    if not at.shape[1]:
        return (0,) * at.shape[0] + tuple(data.shape[1:])
    found = (amax(at, 1) + 1).tolist() if at.shape[0] else []
    return (*found, *data.shape[1:])


def _empty(name: str, size: Any, dtype: DType | None, device: Place, requires_grad: bool) -> Any:
    """A sparse tensor of which nothing is stored."""
    from tracec.sparse.coo import SparseTensor

    if size is None:
        fail(ArgumentError, f"{name}: neither indices nor size", "give size=(rows, columns)")
    sizes = integers(name, size, "size")
    like = as_tensor(0.0, dtype=dtype_of(name, dtype)).to(placed(device))
    return SparseTensor(
        filled(0, like, (len(sizes), 0), dt.int64), _leaf(filled(0, like, (0,)), requires_grad), sizes, True
    )


def _compressed(by_rows: bool, name: str, starts: Any, others: Any, values: Any, size: Any, options: Any) -> Any:
    from tracec.sparse.compressed import CompressedTensor

    data, (first, second) = _parts(name, values, (starts, others), options["dtype"], options["device"])
    if first.ndim != 1 or second.ndim != 1 or data.ndim != 1 or not first.numel():
        shapes = ", ".join(str(tuple(x.shape)) for x in (first, second, data))
        fail(ShapeError, f"{name}: shapes {shapes}", "three vectors; stacks of such matrices are not there")
    if second.shape != data.shape:
        fail(ShapeError, f"{name}: {second.shape[0]} places for {data.shape[0]} values", "one for each")
    rows = first.shape[0] - 1
    if size is None:
        columns = int(amax(second, 0)) + 1 if second.numel() else 0
        sizes: tuple[int, ...] = (rows, columns) if by_rows else (columns, rows)
    else:
        sizes = integers(name, size, "size")
    if len(sizes) != 2 or sizes[0 if by_rows else 1] != rows:
        fail(ShapeError, f"{name}: size {sizes} and {first.shape[0]} beginnings", "one for each, and the end")
    check_positions(name, second, sizes[1 if by_rows else 0], 1 if by_rows else 0)
    stored = data.shape[0]

    def refuse(at: Any) -> NoReturn:
        told = "" if at is None else f" {at.tolist()}"
        fail(
            ArgumentError,
            f"{name}: beginnings{told} of {stored} elements",
            "they rise from 0 to the number of elements",
        )

    check_none(not_rising(first, stored), refuse, shown=first)
    return CompressedTensor(first, second, _leaf(data, options["requires_grad"]), sizes, by_rows)


def sparse_csr_tensor(
    crow_indices: Any,
    col_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    device: Place = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> Any:
    """A sparse matrix by rows.

    Args:
        crow_indices: Where each row begins among the elements, and where the last one ends, shape ``(rows + 1,)``.
        col_indices: The column of each element.
        values: The elements.
        size: Rows and columns; by default as many as are needed.
        dtype: Element type; by default that of the values.
        device: Where it is to be; by default where the values are.
        pin_memory: Only False is supported.
        requires_grad: Whether gradients are computed for the elements.
        check_invariants: Taken as in PyTorch, with no effect: what is given is always checked.

    Raises:
        ShapeError: the parts do not fit; or they are stacks, which are not there.
        AxisError: a column is out of range.
    """
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    return _compressed(True, "sparse_csr_tensor", crow_indices, col_indices, values, size, options)


def sparse_csc_tensor(
    ccol_indices: Any,
    row_indices: Any,
    values: Any,
    size: Sequence[int] | None = None,
    *,
    dtype: DType | None = None,
    device: Place = None,
    pin_memory: bool = False,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
) -> Any:
    """A sparse matrix by columns; see `sparse_csr_tensor`."""
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    return _compressed(False, "sparse_csc_tensor", ccol_indices, row_indices, values, size, options)


def spmm(input: Tensor, mat2: Tensor) -> Any:
    """The product of a sparse and a dense matrix; an old name of `tracec.mm`."""
    from tracec.functions import mm

    return mm(input, mat2)


# Methods of dense tensors -----------------------------------------------------------------------------


@tensor_method
def to_sparse(
    input: Tensor,
    sparse_dim: int | None = None,
    *,
    layout: Layout | None = None,
    blocksize: Any = None,
    dense_dim: int | None = None,
) -> Any:
    """The tensor as a sparse one, of what is not zero; how much that is is read off the values.

    Args:
        input: A dense tensor.
        sparse_dim: Number of sparse axes, from the first; by default all.
        layout: ``tracec.sparse_coo``, the default, ``tracec.sparse_csr`` or ``tracec.sparse_csc``.
        blocksize: Only None is supported.
        dense_dim: Of the compressed layouts: only None and 0 are supported.
    """
    from tracec.sparse.compressed import to_layout
    from tracec.sparse.coo import of_dense

    if layout is None and blocksize is None and not dense_dim:
        return of_dense("to_sparse", input, sparse_dim)
    return to_layout("to_sparse", input, layout, blocksize, dense_dim)  # type: ignore[arg-type]


@tensor_method
def to_sparse_coo(input: Tensor) -> Any:
    """The tensor as a sparse one by coordinates; see `to_sparse`."""
    return to_sparse(input)


@tensor_method
def to_sparse_csr(input: Tensor, dense_dim: int | None = None) -> Any:
    """A matrix as a sparse one by rows; see `to_sparse`."""
    from tracec.record.form import sparse_csr

    return to_sparse(input, layout=sparse_csr, dense_dim=dense_dim)


@tensor_method
def to_sparse_csc(input: Tensor, dense_dim: int | None = None) -> Any:
    """A matrix as a sparse one by columns; see `to_sparse`."""
    from tracec.record.form import sparse_csc

    return to_sparse(input, layout=sparse_csc, dense_dim=dense_dim)


@tensor_method
def sparse_mask(input: Tensor, mask: Any) -> Any:
    """The elements where a sparse tensor has something stored, as a sparse tensor."""
    fail(ArgumentError, "sparse_mask: the mask is no sparse tensor", "to_sparse() makes one")


@tensor_method
def to_padded_tensor(input: Tensor, padding: float, output_size: Sequence[int] | None = None) -> NoReturn:
    """Of nested tensors alone."""
    check_tensor("to_padded_tensor", input)
    fail(ArgumentError, "to_padded_tensor: the tensor is not nested", "tracec.nested.nested_tensor(...) makes one")


def _expects(name: str, what: str) -> Callable[[Tensor], NoReturn]:
    def _run(input: Tensor) -> NoReturn:
        check_tensor(name, input)
        fail(
            ArgumentError,
            f"{name}: expected {what} tensor layout but got {strided!r}",
            "to_sparse() makes a sparse one",
        )

    _run.__name__ = _run.__qualname__ = name
    _run.__doc__ = f"Of {what} tensors alone."
    return _run


for _name in ("indices", "values", "coalesce", "is_coalesced", "_indices", "_values", "_nnz"):
    tensor_method(name=_name)(_expects(_name, "sparse coordinate"))
for _name in ("crow_indices", "col_indices"):
    tensor_method(name=_name)(_expects(_name, "sparse row compressed"))
for _name in ("ccol_indices", "row_indices"):
    tensor_method(name=_name)(_expects(_name, "sparse column compressed"))


@tensor_method
def sparse_dim(input: Tensor) -> int:
    """Number of sparse axes: none of a dense tensor."""
    check_tensor("sparse_dim", input)
    return 0


@tensor_method
def dense_dim(input: Tensor) -> int:
    """Number of dense axes: all of a dense tensor."""
    check_tensor("dense_dim", input)
    return input.ndim
