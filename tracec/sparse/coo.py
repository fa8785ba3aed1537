"""Sparse tensors by coordinates: the places of some elements, and those elements; all others are zero."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar

from tracec import ops
from tracec.errors import ArgumentError, ArgumentTypeError, ShapeError
from tracec.functions.common import cast, check_tensor, fail, filled, reshaped
from tracec.functions.indexing import index_select
from tracec.functions.searching import unique
from tracec.functions.shape import flatten
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.composite import Composite
from tracec.record.form import Layout, sparse_coo
from tracec.record.indexing import nonzero_positions
from tracec.record.printing import format_parts
from tracec.record.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])


class SparseTensor(Composite):
    """A tensor of which some elements are stored: PyTorch's layout ``sparse_coo``.

    The first axes are sparse: an element, or a block of the axes behind them, the dense ones, is stored with its
    coordinates. The same place may be there several times; its elements add up. Coalesced, each place is there
    once, in order.

    Args:
        indices: Coordinates, int64, shape ``(sparse axes, stored)``.
        values: Elements, shape ``(stored, *dense sizes)``.
        size: Size of each axis.
        coalesced: Whether each place is there once, in order.
    """

    kind = "sparse"
    way_out = "to_dense() gives a dense tensor"
    functions: ClassVar[dict[str, Any]] = {}
    is_sparse = True
    is_sparse_csr = False
    layout = sparse_coo
    _coalesced: bool

    def __init__(self, indices: Tensor, values: Tensor, size: Sequence[int], coalesced: bool = False) -> None:
        self._data, self._places = values, (indices,)
        self._sizes, self._coalesced = tuple(size), coalesced

    def form(self) -> Any:
        """Sizes, and whether it is coalesced."""
        return self._sizes, self._coalesced

    @classmethod
    def made(cls, form: Any, inner: tuple[Tensor, ...]) -> Self:
        """One of those sizes, of elements and coordinates."""
        return cls(inner[1], inner[0], *form)

    # What is stored -----------------------------------------------------------------------------------

    def indices(self) -> Tensor:
        """The coordinates of what is stored, int64, shape ``(sparse axes, stored)``.

        Raises:
            ArgumentError: it is not coalesced.
        """
        self._check_coalesced("indices")
        return self._places[0]

    def values(self) -> Tensor:
        """What is stored, shape ``(stored, *dense sizes)``; gradients flow through.

        Raises:
            ArgumentError: it is not coalesced.
        """
        self._check_coalesced("values")
        return self._data

    def _check_coalesced(self, name: str) -> None:
        if not self._coalesced:
            raise ArgumentError(
                f"{name}: Cannot get {name} on an uncoalesced tensor, please call .coalesce() first",
                hint=f"_{name}() gives them as they are stored",
            )

    def _indices(self) -> Tensor:
        """The coordinates as they are stored."""
        return self._places[0]

    def _values(self) -> Tensor:
        """The elements as they are stored, cut off their history."""
        return self._data.detach()

    def _nnz(self) -> int:
        """How many elements, or blocks of them, are stored."""
        stored: int = self._places[0].shape[1]
        return stored

    def sparse_dim(self) -> int:
        """Number of sparse axes."""
        return int(self._places[0].shape[0])

    def dense_dim(self) -> int:
        """Number of dense axes."""
        return len(self._sizes) - self.sparse_dim()

    def is_coalesced(self) -> bool:
        """Whether each place is there once, in order."""
        return self._coalesced

    def coalesce(self) -> SparseTensor:
        """The same tensor with each place once, in order, its elements added up; itself where it is so.

        How many places there are is read off the values of the coordinates.
        """
        if self._coalesced:
            return self
        places, axes = self._places[0], self._sizes[: self.sparse_dim()]
        if self._nnz() < 2 or not axes:
            values = self._data if axes or self._nnz() == 1 else ops.sum(self._data, axes=(0,), keepdims=True)
            return SparseTensor(places if axes else filled(0, places, (0, 1)), values, self._sizes, True)
        there, which = unique(flat(places, axes), return_inverse=True)
        return SparseTensor(unflat(there, axes), added(self._data, which, there.shape[0]), self._sizes, True)

    # Other layouts ------------------------------------------------------------------------------------

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Any:
        """The tensor with all of its elements.

        Args:
            dtype: Element type; by default its own.
            masked_grad: Taken as in PyTorch, with no effect: gradients go to what is stored.
        """
        values = cast(self._data, dtype)
        zeros = filled(False if values.dtype is dt.bool_ else 0, values, self._sizes)
        if not self.sparse_dim():
            return ops.sum(values, axes=(0,)) if self._nnz() else zeros
        return add_at(zeros, values, rows_of(self._places[0]))

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Layout | None = None, **options: Any) -> Any:
        """Itself; or in another sparse layout."""
        if layout is not None and layout is not sparse_coo:
            from tracec.sparse.compressed import to_layout  # imports this module

            return to_layout("to_sparse", self, layout, **options)
        if sparse_dim is not None and sparse_dim != self.sparse_dim():
            raise ArgumentError(
                f"to_sparse: sparse_dim={sparse_dim} for a tensor of {self.sparse_dim()} sparse axes",
                hint="make it dense first",
            )
        return self

    def to_sparse_coo(self) -> SparseTensor:
        """Itself."""
        return self

    def to_sparse_csr(self, dense_dim: int | None = None) -> Any:
        """The matrix by rows; see `tracec.sparse_csr_tensor`."""
        from tracec.sparse.compressed import compressed

        return compressed("to_sparse_csr", self, by_rows=True, dense_dim=dense_dim)

    def to_sparse_csc(self, dense_dim: int | None = None) -> Any:
        """The matrix by columns."""
        from tracec.sparse.compressed import compressed

        return compressed("to_sparse_csc", self, by_rows=False, dense_dim=dense_dim)

    def stride(self, dim: int | None = None) -> Any:
        """Zeros: elements do not lie at regular distances."""
        return (0,) * self.ndim if dim is None else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """No: the elements do not lie in one piece."""
        return False

    def __repr__(self) -> str:
        return text(self, {"indices": self._places[0], "values": self._data}, below=True)


def text(x: Any, parts: dict[str, Tensor], below: bool = False) -> str:
    """A sparse tensor as text: the tensors that it is made of, and what else it is."""
    return format_parts(x, parts, [f"size={tuple(x.shape)}", f"nnz={x._nnz()}"], [f"layout={x.layout!r}"], below)


def handles(*names: str, of: type[Composite] = SparseTensor) -> Callable[[F], F]:
    """Enter a function in a class's table, under the names of the functions that it stands for."""

    def mark(function: F) -> F:
        for name in names:
            of.functions[name] = function
        return function

    return mark


def check_sparse(name: str, x: Any, what: str = "input") -> None:
    """Refuse what is no sparse tensor by coordinates."""
    if not isinstance(x, SparseTensor):
        fail(
            ArgumentTypeError if not isinstance(x, Tensor) else ArgumentError,
            f"{name}: {what} must be a sparse tensor, {describe(x)} given",
            "to_sparse() makes one",
        )


def describe(x: Any) -> str:
    """What was given, for errors."""
    return f"one with layout {x.layout!r}" if isinstance(x, Tensor) else type(x).__name__


# Coordinates as one number ----------------------------------------------------------------------------


def rows_of(places: Tensor) -> tuple[Tensor, ...]:
    """The coordinates of each axis."""
    return tuple(axis_of(places, k) for k in range(places.shape[0]))


def axis_of(places: Tensor, axis: int) -> Any:
    """The coordinates along one axis, shape ``(stored,)``."""
    stored = places.shape[1]
    row = ops.slice(places, starts=(axis, 0), stops=(axis + 1, stored), steps=(1, 1))
    return reshaped(row, (stored,))


def flat(places: Tensor, sizes: Sequence[int]) -> Any:
    """Coordinates as places in row-major order, shape ``(stored,)``."""
    found = filled(0, places, (places.shape[1],))
    for axis, size in enumerate(sizes):
        found = ops.add(ops.mul(found, size), axis_of(places, axis))
    return found


def unflat(places: Tensor, sizes: Sequence[int]) -> Any:
    """The reverse of `flat`."""
    found = []
    for axis, size in enumerate(sizes):
        behind = max(math.prod(sizes[axis + 1 :]), 1)
        found.append(reshaped(ops.remainder(ops.floor_div(places, behind), max(size, 1)), (1, places.shape[0])))
    return ops.concatenate(*found, axis=0)


def add_at(x: Tensor, values: Tensor, at: tuple[Tensor, ...]) -> Any:
    """A tensor with blocks added where coordinates of its first axes say; of bools, one that is true is enough."""
    axes = tuple(range(len(at)))
    if not values.numel():
        return x
    if x.dtype is dt.bool_:
        return ops.index_combine(x, values, *at, axes=axes, combine="maximum")
    return ops.index_put(x, values, *at, axes=axes, add=True)


def added(values: Tensor, at: Tensor, count: int) -> Any:
    """Blocks of elements added up by number, shape ``(count, ...)``."""
    zeros = filled(False if values.dtype is dt.bool_ else 0, values, (count, *values.shape[1:]))
    return add_at(zeros, values, (at,))


def taken(x: SparseTensor, at: Tensor, places: Tensor | None = None, size: Sequence[int] | None = None) -> SparseTensor:
    """Some of what is stored, in order; with other coordinates and sizes where they are given."""
    kept = index_select(x._places[0], 1, at) if places is None else places
    return SparseTensor(kept, index_select(x._data, 0, at), x._sizes if size is None else size, x._coalesced)


def of_dense(name: str, x: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """A dense tensor by the coordinates of what is not zero; how much that is is read off the values.

    Args:
        name: The function, for errors.
        x: A dense tensor.
        sparse_dim: Number of sparse axes; by default all.

    Raises:
        ShapeError: it is not from 1 to the number of axes.
    """
    check_tensor(name, x)
    axes = x.ndim if sparse_dim is None else sparse_dim
    if x.ndim and not 1 <= axes <= x.ndim:
        fail(ShapeError, f"{name}: sparse_dim={sparse_dim} for {x.ndim} axes", f"give 1 to {x.ndim}")
    if not x.ndim:
        stored = int(bool(x.detach()))
        values = reshaped(x, (1,)) if stored else filled(0, x, (0,))
        return SparseTensor(filled(0, x, (0, stored), dt.int64), values, (), True)
    there = ops.ne(x.detach(), 0)
    if axes < x.ndim:
        there = ops.max(flatten(there, axes), axes=(axes,)) if x.numel() else filled(False, there, x.shape[:axes])
    where = nonzero_positions(there)
    places = ops.concatenate(*(reshaped(w, (1, w.shape[0])) for w in where), axis=0)
    return SparseTensor(places, ops.index(x, *where, axes=tuple(range(axes))), x.shape, True)
