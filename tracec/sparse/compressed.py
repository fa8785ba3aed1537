"""Sparse matrices by rows or by columns: where each row begins, the columns, and the elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import tracec.functions as F
from tracec import ops
from tracec.errors import ArgumentError, ShapeError
from tracec.functions.common import fail, iota, one_axis
from tracec.ir import dtype as dt
from tracec.ir.dtype import DType
from tracec.record.composite import Composite
from tracec.record.form import Layout, sparse_coo, sparse_csc, sparse_csr
from tracec.record.tensor import Tensor
from tracec.sparse import arithmetic, products, reductions, shapes
from tracec.sparse.coo import SparseTensor, axis_of, handles, of_dense, text


class CompressedTensor(Composite):
    """A matrix of which some elements are stored, row by row: PyTorch's layout ``sparse_csr``; or ``sparse_csc``.

    Args:
        starts: Where each row begins among what is stored, and where the last one ends, shape ``(rows + 1,)``.
        others: The column of each element, shape ``(stored,)``.
        values: The elements, shape ``(stored,)``.
        size: Rows and columns.
        by_rows: Whether it is so; otherwise rows and columns change parts.
    """

    kind = "sparse"
    way_out = "to_dense() gives a dense tensor, to_sparse_coo() one that more functions take"
    functions: ClassVar[dict[str, Any]] = {}
    is_sparse = False
    _by_rows: bool

    def __init__(
        self, starts: Tensor, others: Tensor, values: Tensor, size: Sequence[int], by_rows: bool = True
    ) -> None:
        self._data, self._places = values, (starts, others)
        self._sizes, self._by_rows = tuple(size), by_rows

    def form(self) -> Any:
        """Rows and columns, and which of them come first."""
        return self._sizes, self._by_rows

    @classmethod
    def made(cls, form: Any, inner: tuple[Tensor, ...]) -> Self:
        """One of that size, of elements, beginnings and columns."""
        return cls(inner[1], inner[2], inner[0], *form)

    @property
    def is_sparse_csr(self) -> bool:
        """Whether it is stored by rows."""
        return self._by_rows

    @property
    def layout(self) -> Layout:
        """``tracec.sparse_csr`` or ``tracec.sparse_csc``."""
        return sparse_csr if self._by_rows else sparse_csc

    def _part(self, name: str, by_rows: bool, k: int) -> Tensor:
        if self._by_rows is not by_rows:
            what = "row" if by_rows else "column"
            raise ArgumentError(
                f"{name}: expected sparse {what} compressed tensor layout but got {self.layout!r}",
                hint="to_sparse_csr() or to_sparse_csc() before",
            )
        return self._places[k]

    def crow_indices(self) -> Tensor:
        """Where each row begins, and where the last one ends."""
        return self._part("crow_indices", True, 0)

    def col_indices(self) -> Tensor:
        """The column of each element."""
        return self._part("col_indices", True, 1)

    def ccol_indices(self) -> Tensor:
        """Where each column begins, and where the last one ends."""
        return self._part("ccol_indices", False, 0)

    def row_indices(self) -> Tensor:
        """The row of each element."""
        return self._part("row_indices", False, 1)

    def values(self) -> Tensor:
        """The elements; gradients flow through."""
        return self._data

    def _values(self) -> Tensor:
        return self._data.detach()

    def _nnz(self) -> int:
        """How many elements are stored."""
        return int(self._data.shape[0])

    def sparse_dim(self) -> int:
        """2: both axes are sparse."""
        return 2

    def dense_dim(self) -> int:
        """0: there are no dense axes."""
        return 0

    def to_sparse_coo(self) -> SparseTensor:
        """The same matrix by coordinates."""
        starts, others = (ops.cast(p, dtype=dt.int64) for p in self._places)
        numbers = iota((self._nnz(),), 0, dt.int64, starts)
        first = ops.sub(F.searchsorted(starts, numbers, right=True), 1)
        rows = (first, others) if self._by_rows else (others, first)
        return SparseTensor(F.stack(rows), self._data, self._sizes, self._by_rows)

    def to_sparse(self, sparse_dim: int | None = None, *, layout: Layout | None = None, **options: Any) -> Any:
        """The same matrix by coordinates, or in another sparse layout."""
        return to_layout("to_sparse", self, sparse_coo if layout is None else layout, **options)

    def to_sparse_csr(self, dense_dim: int | None = None) -> CompressedTensor:
        """The same matrix by rows; itself where it is."""
        return self if self._by_rows else compressed("to_sparse_csr", self.to_sparse_coo(), True)

    def to_sparse_csc(self, dense_dim: int | None = None) -> CompressedTensor:
        """The same matrix by columns; itself where it is."""
        return compressed("to_sparse_csc", self.to_sparse_coo(), False) if self._by_rows else self

    def to_dense(self, dtype: DType | None = None, *, masked_grad: bool | None = None) -> Any:
        """The matrix with all of its elements."""
        return self.to_sparse_coo().to_dense(dtype, masked_grad=masked_grad)

    def stride(self, dim: int | None = None) -> Any:
        """Zeros: elements do not lie at regular distances."""
        return (0, 0) if dim is None else 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """No: the elements do not lie in one piece."""
        return False

    def __repr__(self) -> str:
        names = ("crow_indices", "col_indices") if self._by_rows else ("ccol_indices", "row_indices")
        return text(self, {**dict(zip(names, self._places, strict=True)), "values": self._data})


def compressed(name: str, x: SparseTensor, by_rows: bool, dense_dim: int | None = None) -> CompressedTensor:
    """A matrix by coordinates as one by rows, or by columns.

    Raises:
        ShapeError: it is no matrix, or has dense axes.
    """
    if x.ndim != 2 or x.dense_dim() or dense_dim:
        fail(
            ShapeError,
            f"{name}: a tensor of {x.sparse_dim()} sparse axes and {dense_dim or x.dense_dim()} dense ones",
            "such tensors are matrices, both of whose axes are sparse",
        )
    ordered = (x if by_rows else shapes.transpose(x, 0, 1)).coalesce()
    first, others = axis_of(ordered._places[0], 0), axis_of(ordered._places[0], 1)
    starts = F.searchsorted(first, iota((ordered._sizes[0] + 1,), 0, dt.int64, first))
    return CompressedTensor(starts, others, ordered._data, x._sizes, by_rows)


def to_layout(name: str, x: Any, layout: Layout, blocksize: Any = None, dense_dim: int | None = None) -> Any:
    """A tensor in a sparse layout.

    Raises:
        ArgumentError: there is no such layout, or it has blocks.
    """
    if blocksize is not None or layout not in (sparse_coo, sparse_csr, sparse_csc):
        fail(ArgumentError, f"{name}: layout={layout!r}, blocksize={blocksize}", "use tracec.sparse_coo or sparse_csr")
    if layout is sparse_coo:
        return x.to_sparse_coo() if isinstance(x, Composite) else of_dense(name, x)
    if isinstance(x, CompressedTensor):
        return x.to_sparse_csr(dense_dim) if layout is sparse_csr else x.to_sparse_csc(dense_dim)
    coordinates = x if isinstance(x, SparseTensor) else of_dense(name, x)
    return compressed(name, coordinates, layout is sparse_csr, dense_dim)


# Functions: those of coordinates ----------------------------------------------------------------------


def _of_values(name: str) -> Callable[..., Any]:
    def run(input: CompressedTensor, *args: Any, **kwargs: Any) -> CompressedTensor:
        return input.with_data(getattr(F, name)(input._data, *args, **kwargs))

    return run


def _of_coordinates(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function of sparse tensors by coordinates, for those by rows; its result is by rows where they are."""

    def run(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        first = next(a for a in given if isinstance(a, CompressedTensor))
        for other in given:
            if isinstance(other, SparseTensor):
                fail(ArgumentError, f"{name}: operands of layouts {first.layout!r} and {other.layout!r}", "convert one")
        found = function(*map(products.plain, args), **{k: products.plain(v) for k, v in kwargs.items()})
        return compressed(name, found, first._by_rows) if isinstance(found, SparseTensor) and found.ndim == 2 else found

    return run


for _name in arithmetic._OF_ZERO.split():
    handles(_name, of=CompressedTensor)(_of_values(_name))
_COORDINATES: dict[str, Callable[..., Any]] = {
    "add": arithmetic.add, "sub": arithmetic.sub, "mul": arithmetic.mul, "div": arithmetic.div, "pow": arithmetic.pow,
    "mm": products.mm, "spmm": products.mm, "mv": products.mv, "matmul": products.matmul, "addmm": products.addmm,
    "linear": products.linear, "sum": reductions.sum, "norm": arithmetic.norm, "__pow__": arithmetic.pow,
    "__matmul__": products.matmul, "sparse_mask": arithmetic.sparse_mask,
    "select": shapes.select, "__getitem__": shapes.get_item, "index_select": shapes.index_select,
}  # fmt: skip
for _name, _function in _COORDINATES.items():
    handles(_name, of=CompressedTensor)(_of_coordinates(_function, _name))


@handles("transpose", "swapaxes", "swapdims", of=CompressedTensor)
def transpose(input: CompressedTensor, dim0: int, dim1: int) -> CompressedTensor:
    """Rows and columns exchanged: what was stored by rows is stored by columns."""
    if one_axis("transpose", dim0, 2) == one_axis("transpose", dim1, 2):
        return input
    return CompressedTensor.made((input._sizes[::-1], not input._by_rows), input.inner())


@handles("t", "T", "mT", of=CompressedTensor)
def t(input: CompressedTensor) -> CompressedTensor:
    """Rows and columns exchanged: what was stored by rows is stored by columns."""
    return transpose(input, 0, 1)


@handles("zeros_like", of=CompressedTensor)
def zeros_like(input: CompressedTensor, **options: Any) -> CompressedTensor:
    """A matrix of the same size, of which nothing is stored."""
    return compressed("zeros_like", arithmetic.zeros_like(input.to_sparse_coo(), **options), input._by_rows)
